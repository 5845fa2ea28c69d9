//! From configuration to an open store: connections, migrations, the writer.

use std::sync::Arc;

use super::command::Unit;
use super::connect::Endpoint;
use super::link::Dialer;
use super::nodes::Nodes;
use super::own::Own;
use super::presence::Presence;
use super::readers::Readers;
use super::writer::Writer;
use super::{Postgres, accounts, events, figures, schema, suppressions, webhooks};
use crate::config::store::PostgresConfig;
use crate::domain::account::StoredAccount;
use crate::domain::clock::Timestamp;
use crate::domain::ids::BootId;
use crate::domain::seal::Sealer;
use crate::failpoint::{Point, reach};
use crate::store::figures::Figures;
use crate::store::suppressed::Suppressed;
use crate::store::{Error, Stores};

/// Opens the database as one of the nodes that serve it, and brings it to this program's schema version.
pub async fn open(config: &PostgresConfig, boot: BootId, sealer: Sealer) -> Result<Stores, Error> {
    let endpoint = Endpoint::new(config)?;
    bring_up(&endpoint).await?;
    reach(Point::StartMigrated);
    let nodes = Arc::new(Nodes::new(boot.to_string(), format!("{} {}", host(), config.node)));
    let presence = Presence::start(endpoint.clone(), nodes.clone()).await?;
    let rebase = format!("BEGIN; {}; {}; COMMIT", webhooks::REBASE, events::REBASE);
    endpoint.connect("wxgate start").await?.batch_execute(&rebase).await?;
    let suppressed = Arc::new(Suppressed::default());
    let dialer = Dialer { endpoint, nodes: Some(nodes.clone()), suppressed: suppressed.clone() };
    let (writer, readers, figures) = start(config, dialer).await?;
    suppressions::catch_up(&readers.quick().await?, &suppressed).await?;
    let boot = boot.to_string();
    Ok(Postgres {
        writer,
        readers,
        figures,
        suppressed,
        turns: Arc::default(),
        boot,
        own: Own::default(),
        nodes: Some(nodes),
        presence: Some(presence),
        sealer,
    }
    .into_stores())
}

/// Opens the database beside the nodes that may be serving it: for the command line. Messages cannot be changed through it,
/// and its [`crate::store::Counts`] stand still.
pub async fn open_for_tools(config: &PostgresConfig, sealer: Sealer) -> Result<Stores, Error> {
    let endpoint = Endpoint::new(config)?;
    bring_up(&endpoint).await?;
    let suppressed = Arc::new(Suppressed::default());
    let dialer = Dialer { endpoint, nodes: None, suppressed: suppressed.clone() };
    let (writer, readers, figures) = start(config, dialer).await?;
    let boot = BootId::generate(Timestamp::default()).to_string();
    Ok(Postgres {
        writer,
        readers,
        figures,
        suppressed,
        turns: Arc::default(),
        boot,
        own: Own::default(),
        nodes: None,
        presence: None,
        sealer,
    }
    .into_stores())
}

/// Runs missing migrations → the schema versions before and after. Nodes may be serving meanwhile.
pub async fn migrate(config: &PostgresConfig) -> Result<(usize, usize), Error> {
    let before = bring_up(&Endpoint::new(config)?).await?;
    Ok((before, schema::LATEST))
}

/// The server, and how far the tables are.
pub async fn inspect(config: &PostgresConfig) -> Result<String, Error> {
    let client = Endpoint::new(config)?.connect("wxgate doctor").await?;
    schema::check_server(&client).await?;
    let version = schema::version(&client).await?;
    schema::check_rights(&client, version).await?;
    let server: String = client.query_one("SHOW server_version", &[]).await?.try_get(0)?;
    let tables = match version {
        schema::LATEST => format!("its tables are up to date (schema {version})"),
        0 => "its tables will be made at the first start, or by `wxgate migrate`".to_owned(),
        _ => format!("its tables will be brought from schema {version} to {} at the next start", schema::LATEST),
    };
    Ok(format!("PostgreSQL {server} answers; {tables}"))
}

/// The accounts of the database, without changing anything; `None` when it is too old to have any.
pub async fn peek_accounts(config: &PostgresConfig, sealer: Sealer) -> Result<Option<Vec<StoredAccount>>, Error> {
    let client = Endpoint::new(config)?.connect("wxgate tool").await?;
    if schema::version(&client).await? < schema::ACCOUNTS {
        return Ok(None);
    }
    accounts::list(&Unit::new(&client), &sealer).await.map(Some)
}

async fn bring_up(endpoint: &Endpoint) -> Result<usize, Error> {
    let mut client = endpoint.connect("wxgate migration").await?;
    schema::upgrade(&mut client).await
}

async fn start(config: &PostgresConfig, dialer: Dialer) -> Result<(Writer, Readers, Arc<Figures>), Error> {
    let readers = Readers::new(&dialer.endpoint, config.pool_size)?;
    let link = dialer.dial().await?;
    let figures = Arc::new(Figures::default());
    figures.replace(figures::load(&readers.quick().await?).await?);
    Ok((Writer::start(dialer, link, figures.clone()), readers, figures))
}

/// The machine's name.
fn host() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}
