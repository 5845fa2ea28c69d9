//! `storage.url` when it is PostgreSQL's, and what goes with it.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::read::Section;
use crate::domain::secret::Secret;

const FORM: &str = "has to be postgres://user[:password]@host[:port]/database[?sslmode=disable|prefer|require]";
const HIDDEN: &str = "has its password behind the question mark, where it could be shown; write \
    postgres://user:password@host/database";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    /// `postgres://user[:password]@host[:port]/database[?…]`, without `sslmode`.
    pub url: Secret,
    pub tls: Tls,
    /// Certificates of those whose signature the server's certificate may bear, in PEM; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Connections for queries.
    pub pool_size: usize,
    /// Tells this node from others of the same machine.
    pub node: String,
}

/// Is the way to the server encrypted?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Disable,
    /// If the server offers it; nobody checks its certificate.
    Prefer,
    /// Always, and the certificate has to be right.
    Require,
}

impl PostgresConfig {
    /// `None` when `url` is not PostgreSQL's.
    pub(super) fn read(section: &mut Section<'_>, url: Option<&Secret>, listen: SocketAddr) -> Option<Self> {
        let pool_size = section.count("pool_size", 2..=1000);
        let ca_file = section.text("ca_file").map(PathBuf::from);
        let is_ours =
            |url: &&Secret| ["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme));
        let (url, tls) = parse(url.filter(is_ours)?.expose()).unwrap_or_else(|problem| {
            section.wrong("url", problem);
            (Secret::default(), Tls::Prefer)
        });
        let config = Self { url, tls, ca_file, pool_size, node: listen.to_string() };
        section.show_as("url", config.shown());
        if config.ca_file.is_some() && tls != Tls::Require {
            section.wrong("ca_file", "is of use only with storage.url = \"postgres://…?sslmode=require\"");
        }
        Some(config)
    }

    /// The URL without its password.
    pub(super) fn shown(&self) -> String {
        let url = self.url.expose();
        let (Some(credentials), Some(host)) = (url.find("://").map(|at| at + 3), url.rfind('@')) else {
            return url.to_owned();
        };
        match url[credentials..host].split_once(':') {
            Some((user, _)) => format!("{}{user}:***{}", &url[..credentials], &url[host..]),
            None => url.to_owned(),
        }
    }
}

/// The URL for the library, and what it says about TLS. What is wrong is told without repeating any of it.
fn parse(text: &str) -> Result<(Secret, Tls), String> {
    let (address, query) = text.split_once('?').unwrap_or((text, ""));
    let mut tls = Tls::Prefer;
    let mut others = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=').unwrap_or((part, "")) {
            ("sslmode", "disable") => tls = Tls::Disable,
            ("sslmode", "prefer") => tls = Tls::Prefer,
            ("sslmode", "require" | "verify-full") => tls = Tls::Require,
            ("sslmode", _) => return Err("has an unknown sslmode; known are disable, prefer and require".to_owned()),
            ("sslrootcert", _) => return Err("has sslrootcert; name that file in storage.ca_file".to_owned()),
            ("password", _) => return Err(HIDDEN.to_owned()),
            _ => others.push(part),
        }
    }
    let url = if others.is_empty() { address.to_owned() } else { format!("{address}?{}", others.join("&")) };
    let config: tokio_postgres::Config = url.parse().map_err(|_| FORM.to_owned())?;
    match () {
        () if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() => {
            Err(format!("names no host; it {FORM}"))
        }
        () if config.get_user().is_none() => Err(format!("names no user; it {FORM}")),
        () if config.get_dbname().is_none() => Err(format!("names no database; it {FORM}")),
        () => Ok((Secret::new(url), tls)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_tells_about_tls_and_keeps_the_rest() {
        for (text, url, tls) in [
            ("postgres://a@h/d", "postgres://a@h/d", Tls::Prefer),
            ("postgresql://a:b@h:5433/d?sslmode=disable", "postgresql://a:b@h:5433/d", Tls::Disable),
            (
                "postgres://a:b@h/d?sslmode=require&connect_timeout=1",
                "postgres://a:b@h/d?connect_timeout=1",
                Tls::Require,
            ),
            ("postgres://a@h:1,i:2/d?sslmode=disable", "postgres://a@h:1,i:2/d", Tls::Disable),
            ("postgres://a@h/d?sslmode=verify-full", "postgres://a@h/d", Tls::Require),
            ("postgres://a@/d?host=/run/postgresql", "postgres://a@/d?host=/run/postgresql", Tls::Prefer),
        ] {
            assert_eq!(parse(text), Ok((Secret::new(url), tls)), "{text}");
        }
    }

    #[test]
    fn what_is_shown_has_no_password() {
        for (url, shown) in [
            ("postgres://a@h/d", "postgres://a@h/d"),
            ("postgres://a:s3cr3t@h/d?x=y", "postgres://a:***@h/d?x=y"),
            ("postgres://a:s3@cr3t@h/d", "postgres://a:***@h/d"),
            ("postgres://a:s3cr3t@h:1,i:2/d", "postgres://a:***@h:1,i:2/d"),
        ] {
            let node = String::new();
            let config = PostgresConfig { url: Secret::new(url), tls: Tls::Prefer, ca_file: None, pool_size: 1, node };
            assert_eq!(config.shown(), shown);
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for (text, word) in [
            ("postgres://a:s3cr3t@h/", "no database"),
            ("postgres://h/d", "no user"),
            ("postgres://a:s3cr3t@/d", "no host"),
            ("postgres://a:s3cr3t@h:x/d", "has to be"),
            ("postgres://a:s3cr3t@h/d?sslmode=perhaps", "sslmode"),
            ("postgres://a@h/d?password=s3cr3t", "question mark"),
            ("postgres://a:s3cr3t@h/d?colour=red", "has to be"),
            ("postgres://a:s3cr3t@h/d?sslrootcert=x", "ca_file"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(word) && !problem.contains("s3cr3t"), "{text}: {problem}");
        }
    }
}
