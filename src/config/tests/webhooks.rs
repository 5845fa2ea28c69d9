//! `[webhooks]`.

use super::*;

const FIRST: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SECOND: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn crm(more: &str) -> String {
    format!("[webhooks.crm]\nurl = 'https://crm.example.com/in?key=h1dden'\nsecret = '{FIRST}'\n{more}")
}

#[test]
fn a_webhook_is_read_whole_and_shown_without_its_secrets() {
    let more =
        format!("previous_secret = '{SECOND}'\nevents = ['message.*', 'user.subscribed']\naccounts = ['shop']\n");
    let config = load(&format!("{SHOP}{}", crm(&more)), &[("WXGATE__WEBHOOKS__ALLOW_CIDRS", "10.0.0.0/8,fd00::/8")]);
    let config = config.unwrap();
    assert!(config.webhooks.reach.allows([10, 1, 2, 3].into()) && !config.webhooks.reach.allows([127, 0, 0, 1].into()));
    let [webhook] = config.webhooks.webhooks.as_slice() else { panic!("{:?}", config.webhooks) };
    assert_eq!((&*webhook.name, webhook.url.as_str()), ("crm", "https://crm.example.com/in?key=h1dden"));
    assert_eq!(webhook.secret.text().expose(), FIRST);
    assert_eq!(webhook.previous_secret.as_ref().unwrap().text().expose(), SECOND);
    assert_eq!(webhook.events.iter().map(ToString::to_string).collect::<Vec<_>>(), ["message.*", "user.subscribed"]);
    assert_eq!((webhook.accounts.as_deref(), webhook.allow_private), (Some(&["shop".to_owned()][..]), false));
    let shown = config.render();
    for hidden in [FIRST, SECOND, "h1dden"] {
        assert!(!shown.contains(hidden) && !format!("{config:?}").contains(hidden), "{shown}");
    }
    assert!(shown.contains("url = \"https://crm.example.com/…\"") && shown.contains("secret = \"***\""), "{shown}");
}

#[test]
fn what_is_left_out_means_everything_and_public_addresses_only() {
    let config = load(&crm(""), &[]).unwrap();
    let webhook = &config.webhooks.webhooks[0];
    assert!(
        webhook.webhook().interest.fits("callback.text", None) && webhook.accounts.is_none() && !webhook.allow_private
    );
    assert_eq!(load("", &[]).unwrap().webhooks, crate::config::webhooks::WebhooksConfig::default());
}

#[test]
fn its_secret_can_stand_in_a_file_and_all_of_it_in_the_environment() {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    writeln!(secret, "{FIRST}").unwrap();
    let env = [
        ("WXGATE__WEBHOOKS__CRM__URL", "http://10.0.0.7:9000/"),
        ("WXGATE__WEBHOOKS__CRM__SECRET_FILE", secret.path().to_str().unwrap()),
        ("WXGATE__WEBHOOKS__CRM__ALLOW_PRIVATE", "true"),
        ("WXGATE__WEBHOOKS__CRM__EVENTS", "message.*,batch.finished"),
    ];
    let webhook = &load("", &env).unwrap().webhooks.webhooks[0];
    assert_eq!((webhook.secret.text().expose(), webhook.allow_private, webhook.events.len()), (FIRST, true, 2));
}

#[test]
fn mistakes_are_told_where_they_stand_and_show_no_secret() {
    has(&wrong("[webhooks.crm]\n", &[]), &["webhooks.crm.url", "is missing"]);
    has(&wrong("[webhooks.crm]\nurl = 'https://x/'\n", &[]), &["webhooks.crm.secret", "is missing"]);
    has(&wrong(&crm("event = []"), &[]), &["webhooks.crm.event", "did you mean `events`?"]);
    has(
        &wrong("[webhooks]\nallow_cidr = ['10.0.0.0/8']", &[]),
        &["webhooks.allow_cidr", "did you mean `allow_cidrs`?"],
    );
    has(&wrong("[webhooks]\nallow_cidrs = ['10.0.0.1/8']", &[]), &["webhooks.allow_cidrs", "10.0.0.1/8", "no network"]);
    has(&wrong("[webhooks.CRM]\n", &[]), &["webhooks.CRM", "a name is 1 to 64"]);
    has(&wrong(&crm("events = ['mesage.*']"), &[]), &["webhooks.crm.events", "\"mesage.*\" is no type of event"]);
    has(&wrong(&crm("events = []"), &[]), &["webhooks.crm.events", "names nothing"]);
    has(
        &wrong(&format!("{SHOP}{}", crm("accounts = ['shp']")), &[]),
        &["webhooks.crm.accounts", "did you mean \"shop\"?"],
    );
    has(&wrong(&crm("previous_secret = 's3cret'"), &[]), &["webhooks.crm.previous_secret", "whsec_"]);
    let at = |url: &str| format!("[webhooks.crm]\nsecret = '{FIRST}'\nurl = '{url}'\n");
    has(
        &wrong(&at("http://127.1:80/"), &[]),
        &["webhooks.crm.url", "127.0.0.1 is not a public address", "allow_private"],
    );
    has(&wrong(&at("https://u:h1dden@x/"), &[]), &["webhooks.crm.url", "holds a user or password"]);
    assert!(wrong(&format!("{}allow_private = true", at("http://127.1:80/")), &[]).is_empty());
    assert!(wrong(&format!("[webhooks]\nallow_cidrs = ['127.0.0.0/8']\n{}", at("http://127.1:80/")), &[]).is_empty());
    for line in [wrong(&crm("previous_secret = 's3cret'"), &[]), wrong(&at("https://u:h1dden@x/"), &[])].concat() {
        assert!(!line.contains("s3cret") && !line.contains("h1dden"), "{line}");
    }
}
