//! What commands do is written down under the name of the system's user.

use serde_json::{Value, json};

use super::process::{Place, command};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_written_down_with_the_user_who_ran_them() {
    let place = Place::prepare("").await;
    let config = place.config();
    let run = |arguments: &[&str]| {
        let output = command(&config).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let text = run(&["key", "create", "--client", "crm", "--scopes", "read,send", "--accounts", "shop", "--signing"]);
    let id = text.strip_prefix("wxg_").unwrap().rsplit_once('_').unwrap().0.to_owned();
    run(&["key", "revoke", &id]);
    assert!(!command(&config).args(["key", "revoke", &id]).output().unwrap().status.success());
    let new_key = place.folder.path().join("new.key");
    std::fs::write(&new_key, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
    run(&["key", "create", "--client", "signer", "--scopes", "read", "--signing"]);
    run(&["secrets", "rekey", "--new-key-file", new_key.to_str().unwrap()]);
    std::fs::rename(&new_key, place.folder.path().join("wxgate.db.key")).unwrap();

    let program = place.start().await;
    let list: Value = program.get("/v1/audit").await;
    let user = std::process::Command::new("id").arg("-un").output().unwrap();
    let user = format!("cli:{}", String::from_utf8(user.stdout).unwrap().trim());
    let acts: Vec<_> = list["data"].as_array().unwrap().iter().collect();
    assert!(acts.iter().all(|act| act["actor"] == user && act["request_id"].is_null()), "{list}");
    let told: Vec<_> = acts.iter().map(|act| (act["action"].as_str().unwrap(), &act["object"])).collect();
    assert_eq!((told[0], told[2]), (("secrets.rekeyed", &json!("secrets.key")), ("key.revoked", &json!(id))));
    assert_eq!(acts[0]["details"], json!({"keys": 1}));
    let made = json!({"client": "crm", "scopes": ["read", "send"], "accounts": ["shop"], "templates": null, "expires_at": null, "signing": true});
    assert_eq!((told[3], &acts[3]["details"]), (("key.created", &json!(id)), &made));
    assert_eq!(acts.len(), 4);
}
