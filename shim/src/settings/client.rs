//! docker's `config.json`: what the person at the keyboard likes.
//! Logins are in it as well; the image library reads those itself.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The keys of config.json that mean something without a daemon.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Client {
    /// The keys that leave a container running (`ctrl-p,ctrl-q`).
    pub detach_keys: Option<String>,
    /// `--format` of `ps`.
    pub ps_format: Option<String>,
    /// `--format` of `images`.
    pub images_format: Option<String>,
    /// `--format` of `stats`.
    pub stats_format: Option<String>,
    /// `--format` of `volume ls`.
    pub volumes_format: Option<String>,
    /// `--format` of `network ls`.
    pub networks_format: Option<String>,
    /// Filters of every prune, `label=…` and `label!=…`.
    pub prune_filters: Vec<String>,
    /// Proxies of new containers, by daemon; `default` is what counts here.
    pub proxies: BTreeMap<String, Proxies>,
}

/// Proxies that become a container's environment.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Proxies {
    /// `HTTP_PROXY`
    pub http_proxy: Option<String>,
    /// `HTTPS_PROXY`
    pub https_proxy: Option<String>,
    /// `NO_PROXY`
    pub no_proxy: Option<String>,
    /// `FTP_PROXY`
    pub ftp_proxy: Option<String>,
    /// `ALL_PROXY`
    pub all_proxy: Option<String>,
}

impl Client {
    /// The environment that the proxies give every new container: each in capitals and in small letters.
    pub fn proxy_env(&self) -> Vec<(String, String)> {
        let Some(proxies) = self.proxies.get("default") else { return Vec::new() };
        let named = [
            ("HTTP_PROXY", &proxies.http_proxy),
            ("HTTPS_PROXY", &proxies.https_proxy),
            ("NO_PROXY", &proxies.no_proxy),
            ("FTP_PROXY", &proxies.ftp_proxy),
            ("ALL_PROXY", &proxies.all_proxy),
        ];
        let set = named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        set.filter(|(_, value)| !value.is_empty())
            .flat_map(|(name, value)| {
                [name.to_owned(), name.to_lowercase()].map(|n| (n, value.to_owned()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_docker_that_mean_nothing_here_are_left_alone() {
        let text = r#"{"auths": {"x": {}}, "credsStore": "pass", "currentContext": "default",
            "HttpHeaders": {"a": "b"}, "psFormat": "table {{.ID}}", "detachKeys": "ctrl-x",
            "proxies": {"default": {"httpProxy": "http://p", "noProxy": ""}}}"#;
        let client: Client = serde_json::from_str(text).unwrap();
        assert_eq!(client.ps_format.as_deref(), Some("table {{.ID}}"));
        let env: Vec<_> = client.proxy_env();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(env, [pair("HTTP_PROXY", "http://p"), pair("http_proxy", "http://p")]);
    }
}
