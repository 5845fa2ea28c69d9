//! Two gateways on one database: WeChat's repeat may reach the other one.

use wxgate::sandbox::CallbackRequest;

use super::backend::{BackEnd, Say};
use super::shown;
use crate::harness::{AES_KEY, CALLBACK_TOKEN, Setup, TestApp};
use crate::store::backend::Database;

#[tokio::test]
async fn the_answer_that_is_kept_first_is_everybodys() {
    let database = Database::create().await;
    let backend = BackEnd::start(Say::Numbered).await;
    let setup = |world| Setup {
        storage: Some(database.toml()),
        account: format!("[accounts.shop.relay]\nurl = \"{}\"\n", backend.url),
        world,
        ..Setup::default()
    };
    let one = TestApp::start_with(setup(None)).await;
    let two = TestApp::start_with(setup(Some(one.world.clone()))).await;
    let question = || CallbackRequest::text("oASKS", "hi").msg_id(77).create_time(1_767_400_000);
    let ask = async |app: &TestApp| {
        let target =
            wxgate::sandbox::CallbackTarget::safe(&format!("{}/wechat/shop", app.url), CALLBACK_TOKEN, AES_KEY);
        app.sandbox.set_callback_target(None, Some(target));
        shown(&app.sandbox.send_callback(question()).await.unwrap()).unwrap()
    };
    // Both ask at once: one may ask the back end a second time, but the person gets one answer.
    let (first, second) = tokio::join!(ask(&one), ask(&two));
    assert_eq!(first, second);
    assert_eq!(ask(&one).await, first);
    assert_eq!(ask(&two).await, first);
    assert!(backend.asked().len() <= 2);
}
