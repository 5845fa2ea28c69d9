//! `Tokens`: sealed, and never older than what is kept.

use rstest::rstest;
use wxgate::domain::ids::BootId;
use wxgate::domain::seal::Sealer;
use wxgate::domain::secret::Secret;
use wxgate::domain::token::AccessToken;
use wxgate::store::open;

use super::backend::Backend;
use super::build::at;

pub(crate) fn token(text: &str, generation: i64) -> AccessToken {
    AccessToken {
        token: Secret::new(text),
        generation,
        fetched_at: at(0),
        expires_at: at(7200),
        forced_at: Some(at(-60)),
        forced_today: 2,
    }
}

#[rstest]
#[tokio::test]
async fn a_newer_generation_is_never_overwritten(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let mut house = backend.open().await;
    let tokens = house.stores.tokens.clone();
    assert_eq!(tokens.load("shop", "wx1").await.unwrap(), None);
    assert!(tokens.keep("shop", "wx1", &token("second", 2)).await.unwrap());
    assert!(!tokens.keep("shop", "wx1", &token("first", 1)).await.unwrap());
    assert_eq!(tokens.load("shop", "wx1").await.unwrap(), Some(token("second", 2)));
    let counted = AccessToken { forced_today: 3, ..token("second", 2) };
    assert!(tokens.keep("shop", "wx1", &counted).await.unwrap(), "the same generation may be kept again");
    drop(tokens);
    house.restart().await;
    assert_eq!(house.stores.tokens.load("shop", "wx1").await.unwrap(), Some(counted));
}

#[rstest]
#[tokio::test]
async fn a_token_of_another_app_or_key_is_none_and_gives_way(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut house = backend.open().await;
    house.stores.tokens.keep("shop", "wx1", &token("second", 2)).await.unwrap();
    assert_eq!(house.stores.tokens.load("shop", "wx2").await.unwrap(), None);
    house.stores.close().await;
    house.stores = open::open(&house.config, BootId::generate(at(0)), Sealer::new([8; 32])).await.unwrap();
    assert_eq!(house.stores.tokens.load("shop", "wx1").await.unwrap(), None);
    assert!(house.stores.tokens.keep("shop", "wx1", &token("fresh", 1)).await.unwrap());
    assert_eq!(house.stores.tokens.load("shop", "wx1").await.unwrap(), Some(token("fresh", 1)));
    assert!(house.stores.tokens.keep("shop", "wx2", &token("moved", 1)).await.unwrap());
    assert_eq!(house.stores.tokens.load("shop", "wx2").await.unwrap(), Some(token("moved", 1)));
}
