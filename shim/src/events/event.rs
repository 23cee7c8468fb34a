//! One event, in docker's shape.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
    /// The engine; dhow has none, so this is a verb upon the whole world.
    Daemon,
    /// A build.
    Builder,
}

impl Kind {
    /// docker's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Network => "network",
            Self::Daemon => "daemon",
            Self::Builder => "builder",
        }
    }
}

/// What it happened to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Id of a container, id or name of an image, name of a volume.
    #[serde(rename = "ID")]
    pub id: String,
    /// What else is known of it.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// One event, as it lies in the journal: docker's keys without those that follow from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it is about. The first key, so that every record begins alike.
    #[serde(rename = "Type")]
    pub kind: Kind,
    /// `create`, `start`, `die`, …
    #[serde(rename = "Action")]
    pub action: String,
    /// What it happened to.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// When, in nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub nanos: i64,
}

impl Event {
    /// An event of now.
    pub fn new(kind: Kind, action: &str, id: &str, attributes: &[(&str, &str)]) -> Self {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let attributes = attributes.iter().map(own).collect();
        Self {
            kind,
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes },
            nanos: i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX),
        }
    }
}
