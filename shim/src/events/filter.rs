//! `--filter` of `events`, by docker's rules.

use super::event::{Event, Kind};
use crate::error::{Error, Result};

/// Values of one key are alternatives; all keys have to fit. Keys that nobody knows hide nothing,
/// as docker has it.
#[derive(Debug, Default)]
pub struct Filter(Vec<(String, String)>);

/// Keys that mean an object by id or name, or the beginning of one.
const OBJECTS: [&str; 9] =
    ["daemon", "container", "plugin", "volume", "network", "node", "service", "secret", "config"];
/// Actions with something after a colon, which may be left out.
const LONG: [&str; 3] = ["health_status", "exec_create", "exec_start"];

impl Filter {
    /// `KEY=VALUE`, any number of them.
    pub fn parse(typed: &[String]) -> Result<Self> {
        let pair = |text: &String| -> Result<(String, String)> {
            let (key, value) = text.split_once('=').ok_or_else(|| {
                Error::new(
                    crate::Kind::Flag,
                    format!(
                        "invalid argument \"{text}\" for \"-f, --filter\" flag: \
                     bad format of filter (expected name=value)"
                    ),
                )
            })?;
            Ok((key.trim().to_lowercase(), value.trim().to_owned()))
        };
        typed.iter().map(pair).collect::<Result<_>>().map(Self)
    }

    fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    fn exact(&self, key: &str, text: &str) -> bool {
        let mut values = self.values(key).peekable();
        values.peek().is_none() || values.any(|value| value == text)
    }

    fn begins(&self, key: &str, text: &str) -> bool {
        let mut values = self.values(key).peekable();
        values.peek().is_none() || values.any(|value| text.starts_with(value))
    }

    /// Whether `event` is to be shown.
    pub fn fits(&self, event: &Event) -> bool {
        let attribute = |key: &str| event.actor.attributes.get(key).map_or("", String::as_str);
        let (id, name) = (event.actor.id.as_str(), attribute("name"));
        let long = self.values("event").any(|value| LONG.contains(&value));
        let action = &event.action;
        let by_action = self.exact("event", action) || long && self.begins("event", action);
        let image = if event.kind == Kind::Image { name } else { attribute("image") };
        let images = [id, image, without_tag(id), without_tag(image)];
        by_action
            && self.exact("type", event.kind.as_str())
            && self.exact("scope", "local")
            && OBJECTS.iter().all(|key| self.begins(key, id) || self.begins(key, name))
            && images.iter().any(|image| self.exact("image", image))
            && self.values("label").all(|label| match label.split_once('=') {
                Some((key, value)) => event.actor.attributes.get(key).is_some_and(|v| v == value),
                None => event.actor.attributes.contains_key(label),
            })
    }
}

/// `busybox` of `busybox:latest`, by docker's rule for familiar names.
fn without_tag(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(filter: &[&str], kind: Kind, action: &str, id: &str, more: &[(&str, &str)]) -> bool {
        let filter: Vec<String> = filter.iter().map(|&f| f.to_owned()).collect();
        Filter::parse(&filter).unwrap().fits(&Event::new(kind, action, id, more))
    }

    #[test]
    fn filters_mean_what_docker_means() {
        let web = |filter: &[&str]| {
            let more = [("name", "web1"), ("image", "nginx:1"), ("tier", "front")];
            fits(filter, Kind::Container, "exec_start: ls -l", "abcdef", &more)
        };
        for fine in [
            &[][..],
            &["container=web1"],
            &["container=web"],
            &["container=abc"],
            &["container=db", "container=web1"],
            &["type=container"],
            &["type=image", "type=container"],
            &["event=exec_start"],
            &["event=exec_start: ls -l"],
            &["image=nginx:1"],
            &["image=nginx"],
            &["label=tier"],
            &["label=tier=front"],
            &["scope=local"],
            &["whatever=x"],
        ] {
            assert!(web(fine), "{fine:?}");
        }
        for wrong in [
            &["container=db"][..],
            &["type=image"],
            &["event=start"],
            &["image=nginx:2"],
            &["label=tier=back"],
            &["label=tier", "label=none"],
            &["scope=swarm"],
            &["volume=v"],
            &["container=web1", "event=die"],
        ] {
            assert!(!web(wrong), "{wrong:?}");
        }
        assert!(fits(&["image=busybox"], Kind::Image, "pull", "busybox:latest", &[]));
        assert!(Filter::parse(&["bad".into()]).is_err());
    }
}
