//! Looking for images: Docker Hub's index, or another registry's that has one; a registry
//! without an index is asked for its catalog.

use serde::Deserialize;
use ureq::Body;
use ureq::http::{Response, header};

use super::request::Call;
use super::{Client, Settings, url};
use crate::error::{Error, Result};

/// No answer is longer.
const MAX_ANSWER: u64 = 4 << 20;
/// A catalog of more pages is not read to its end.
const MAX_PAGES: usize = 20;

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its name there; of Docker Hub's own repositories the short one.
    #[serde(deserialize_with = "lax")]
    pub name: String,
    /// What its owner says of it.
    #[serde(deserialize_with = "lax")]
    pub description: String,
    /// How many like it.
    #[serde(deserialize_with = "lax")]
    pub star_count: i64,
    /// Whether it is one of Docker Hub's own.
    #[serde(deserialize_with = "lax")]
    pub is_official: bool,
}

fn lax<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// Splits a term as docker does: a first part with a dot or a colon, or `localhost`, is a
/// registry; anything else is looked for on Docker Hub.
pub fn split_term(term: &str) -> Result<(&str, &str)> {
    if term.contains("://") {
        let why = format!("repository name ({term}) should not have a scheme");
        return Err(Error::usage("repository name", term, why));
    }
    let (domain, rest) = match term.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("docker.io", term),
    };
    let hub = matches!(domain, "docker.io" | "index.docker.io");
    if hub {
        Ok(("docker.io", rest.strip_prefix("library/").unwrap_or(rest)))
    } else {
        Ok((domain, rest))
    }
}

/// Looks for a term; at most `limit` results, the best first.
pub fn search(settings: &Settings, term: &str, limit: usize) -> Result<Vec<Found>> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(default)]
        results: Vec<Found>,
    }
    let (domain, words) = split_term(term)?;
    let client = Client::of_index(settings, domain)?;
    let at = url::with_query(&format!("{}/v1/search", client.base()), "q", words);
    let at = url::with_query(&at, "n", &limit.to_string());
    let call = Call::new("GET", at).header("Accept", "application/json");
    let title = call.title();
    let mut found = match client.send(call, &[200]) {
        Ok(mut answer) => read::<Page>(&client, &mut answer, &title)?.results,
        Err(Error::Registry { status: 404 | 405, .. }) if domain != "docker.io" => {
            catalog(&client, words, limit)?
        }
        Err(e) => return Err(e),
    };
    found.truncate(limit);
    Ok(found)
}

/// The repositories whose name holds `words`.
fn catalog(client: &Client, words: &str, limit: usize) -> Result<Vec<Found>> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(default)]
        repositories: Vec<String>,
    }
    client.add_scope("registry:catalog:*".into());
    let mut found = Vec::new();
    let mut next = Some(format!("{}/v2/_catalog?n=1000", client.base()));
    for _ in 0..MAX_PAGES {
        let Some(at) = next.take() else { break };
        let call = Call::new("GET", at.clone());
        let title = call.title();
        let mut answer = client.send(call, &[200]).map_err(|e| match e {
            Error::Registry { status: 404 | 405, request, .. } => {
                let hint = "it has neither /v1/search nor a catalog";
                Error::unsupported(format!("searching by {request}"), hint)
            }
            other => other,
        })?;
        next = super::tags::next_page(&at, &answer)?;
        let names = read::<Page>(client, &mut answer, &title)?.repositories;
        let fitting = names.into_iter().filter(|name| name.contains(words));
        found.extend(fitting.map(|name| Found { name, ..Found::default() }));
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// A JSON document of bounded size.
pub(super) fn read<T: serde::de::DeserializeOwned>(
    client: &Client,
    answer: &mut Response<Body>,
    title: &str,
) -> Result<T> {
    let html = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t.to_str().is_ok_and(|t| t.starts_with("text/html")));
    let bytes = client.body(answer, MAX_ANSWER, title)?;
    if html {
        return Err(Error::invalid(format!("answer to {title}"), "it is a web page"));
    }
    serde_json::from_slice(&bytes).map_err(|e| Error::invalid(format!("answer to {title}"), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_split_as_docker_splits_them() {
        for (term, want) in [
            ("busybox", ("docker.io", "busybox")),
            ("library/busybox", ("docker.io", "busybox")),
            ("some/one", ("docker.io", "some/one")),
            ("localhost/x", ("localhost", "x")),
            ("r.io:5000/a/b", ("r.io:5000", "a/b")),
            ("docker.io/library/x", ("docker.io", "x")),
        ] {
            assert_eq!(split_term(term).unwrap(), want, "{term}");
        }
        assert!(split_term("https://r.io/x").is_err());
    }

    #[test]
    fn nulls_and_unknown_keys_do_no_harm() {
        let text = r#"{"name":"a","description":null,"is_automated":true,"star_count":3}"#;
        let found: Found = serde_json::from_str(text).unwrap();
        assert_eq!((found.name.as_str(), found.star_count, found.is_official), ("a", 3, false));
    }
}
