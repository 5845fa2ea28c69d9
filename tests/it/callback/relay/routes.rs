//! Who gets what: by type, event, person and share.

use wxgate::sandbox::CallbackRequest;

use super::backend::{BackEnd, Say, text};
use super::{relayed, says, shown};

fn route(backend: &BackEnd, rules: &str) -> String {
    format!("[[accounts.shop.relay.routes]]\nurl = \"{}\"\n{rules}\n", backend.url)
}

async fn named(name: &str) -> BackEnd {
    BackEnd::start(Say::Reply(text(name))).await
}

#[tokio::test]
async fn the_first_route_that_fits_wins_and_the_rest_goes_to_the_owner() {
    let (owner, testers, pictures, follows) =
        (named("owner").await, named("testers").await, named("pictures").await, named("follows").await);
    let routes = [
        route(&testers, "openids = [\"oTESTER\"]"),
        route(&pictures, "types = [\"image\"]\ntimeout = \"2s\""),
        route(&follows, "events = [\"subscribe\"]"),
    ]
    .concat();
    let app = relayed(&owner, "safe", &routes).await;
    for (request, name) in [
        (CallbackRequest::text("oTESTER", "hi"), "testers"),
        (CallbackRequest::new("image", "oTESTER"), "testers"),
        (CallbackRequest::new("image", "oA"), "pictures"),
        (CallbackRequest::new("subscribe", "oA"), "follows"),
        (CallbackRequest::new("scan", "oA"), "owner"),
        (CallbackRequest::text("oA", "hi"), "owner"),
    ] {
        let reply = shown(&app.sandbox.send_callback(request.clone()).await.unwrap()).unwrap();
        assert!(reply.contains(name), "{request:?}: {reply}");
    }
}

#[tokio::test]
async fn a_share_of_the_people_stays_with_the_new_one() {
    let (old, new) = (named("old one").await, named("new one").await);
    let app = relayed(&old, "safe", &route(&new, "percent = 25")).await;
    let mut with_new = 0;
    for n in 0..200 {
        let openid = format!("oPERSON{n}");
        let first = says(&app, &openid, "hi").await.unwrap();
        let is_new = first.contains("new one");
        with_new += usize::from(is_new);
        if n < 20 {
            assert_eq!(says(&app, &openid, "again").await.unwrap().contains("new one"), is_new, "{openid}");
        }
    }
    assert!((30..=70).contains(&with_new), "a quarter of 200: {with_new}");
}
