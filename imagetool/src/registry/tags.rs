//! A repository's tags, page by page.
//!
//! SPEC: distribution-spec §listing tags.

use serde::Deserialize;
use ureq::Body;
use ureq::http::{Response, header};

use super::request::Call;
use super::{Client, search, url};
use crate::error::{Error, Result};

/// No repository is believed to have more.
const MAX_TAGS: usize = 100_000;

impl Client {
    /// All tags of the repository, in the registry's order.
    pub fn tags(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut all = Vec::new();
        let mut next = Some(self.url("tags/list?n=1000"));
        while let Some(at) = next.take() {
            let call = Call::new("GET", at.clone());
            let title = call.title();
            let mut answer = self.send(call, &[200])?;
            next = next_page(&at, &answer)?;
            let tags = search::read::<Page>(&mut answer, &title)?.tags.unwrap_or_default();
            // A page without a tag that leads to another one would never end.
            if tags.is_empty() {
                break;
            }
            all.extend(tags);
            if all.len() > MAX_TAGS {
                return Err(Error::invalid(title, format!("it has more than {MAX_TAGS} tags")));
            }
        }
        Ok(all)
    }
}

/// Where the next page is: the `Link` of `rel="next"`, on the same host.
pub(super) fn next_page(from: &str, answer: &Response<Body>) -> Result<Option<String>> {
    let links = answer.headers().get_all(header::LINK).iter().filter_map(|l| l.to_str().ok());
    let mut next = links.flat_map(|l| l.split(',')).filter(|l| l.contains("rel=\"next\""));
    let target = next.next().and_then(|l| l.split_once('<')?.1.split_once('>'));
    let Some((target, _)) = target else { return Ok(None) };
    let to = url::join(from, target)?;
    if url::origin(&to) != url::origin(from) {
        let why = format!("its next page is on another host, {}", url::shown(&to));
        return Err(Error::invalid(format!("answer to GET {}", url::shown(from)), why));
    }
    Ok(Some(to))
}
