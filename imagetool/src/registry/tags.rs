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
/// Nor to have them on more pages.
const MAX_PAGES: usize = 1000;

impl Client {
    /// All tags of the repository, in the registry's order.
    pub fn tags(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut all = Vec::new();
        let mut pages = 0;
        let mut next = Some(self.url("tags/list?n=1000"));
        while let Some(at) = next.take() {
            pages += 1;
            let call = Call::new("GET", at.clone());
            let title = call.title();
            let mut answer = self.send(call, &[200])?;
            next = next_page(&at, &answer)?;
            let tags = search::read::<Page>(self, &mut answer, &title)?.tags.unwrap_or_default();
            // A page without a tag that leads to another one would never end.
            if tags.is_empty() {
                break;
            }
            all.extend(tags);
            if all.len() > MAX_TAGS || (pages == MAX_PAGES && next.is_some()) {
                let why = format!("it has more than {MAX_TAGS} tags, or {MAX_PAGES} pages of them");
                return Err(Error::invalid(title, why));
            }
        }
        Ok(all)
    }
}

/// Where the next page is: the `Link` of `rel="next"`, on the same host.
pub(super) fn next_page(from: &str, answer: &Response<Body>) -> Result<Option<String>> {
    let links = answer.headers().get_all(header::LINK).iter().filter_map(|l| l.to_str().ok());
    let Some(target) = links.into_iter().find_map(next_of) else { return Ok(None) };
    let to = url::join(from, target)?;
    let bad = |why: String| Error::invalid(format!("answer to GET {}", url::shown(from)), why);
    if url::origin(&to) != url::origin(from) {
        return Err(bad(format!("its next page is on another host, {}", url::shown(&to))));
    }
    if to == from {
        return Err(bad("its next page is itself".into()));
    }
    Ok(Some(to))
}

/// The target of `rel=next` in a `Link`. SPEC: RFC 8288.
fn next_of(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, params) = after.split_once('>')?;
        let end = params.find('<').unwrap_or(params.len());
        let own = params[..end].trim_end_matches([' ', '\t', ',']);
        let is_next = own.split(';').any(|p| {
            let (key, value) = p.split_once('=').unwrap_or((p, ""));
            let value = value.trim().trim_matches('"');
            key.trim().eq_ignore_ascii_case("rel")
                && value.split(' ').any(|v| v.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = &params[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        for (header, want) in [
            (r#"</v2/x/tags/list?n=1&last=a>; rel="next""#, Some("/v2/x/tags/list?n=1&last=a")),
            (r#"<a,b>; rel=prev, <c>; title="x"; REL="last next""#, Some("c")),
            ("<a>;rel=next", Some("a")),
            (r#"<a>; rel="nextish""#, None),
            (r#"<a>; title="rel=next""#, None),
            ("<a", None),
            ("", None),
        ] {
            assert_eq!(next_of(header), want, "{header}");
        }
    }

    proptest! {
        #[test]
        fn links_never_panic(s in "\\PC{0,80}", t in "(<|>|;|,|rel|=|\"| |next|a){0,20}") {
            let _ = (next_of(&s), next_of(&t));
        }
    }
}
