//! What a stage has come to.

use jiff::Timestamp;

use crate::build::cache::Record;
use crate::build::plan::Vars;
use crate::config::{History, ImageConfig};
use crate::digest::{ChainId, DiffId, Digest};
use crate::manifest::Descriptor;
use crate::platform::Platform;

/// BuildKit's note in an image's history.
const COMMENT: &str = "buildkit.dockerfile.v0";
/// What PATH is when an image says nothing of it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// With all below it.
    pub chain: ChainId,
    /// Its plain tar.
    pub diff_id: DiffId,
    /// As it is packed, if it is.
    pub blob: Option<Descriptor>,
    /// It came with an image.
    pub base: bool,
}

/// What a stage has come to, after any of its steps.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The image, but for its layers and times.
    pub image: ImageConfig,
    /// What it is for.
    pub platform: Platform,
    /// What a RUN sees: ENVs and ARGs.
    pub env: Vars,
    /// The ARGs seen, for the history.
    pub args: Vec<(String, Option<String>)>,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// So many entries of the history came with an image.
    pub old_history: usize,
    /// RUNs that have changed nothing of what the topmost layer shows.
    pub idle: Vec<Digest>,
}

impl State {
    /// Nothing.
    pub fn scratch(platform: &Platform) -> Self {
        let image = ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..ImageConfig::default()
        };
        Self::of(image, Vec::new())
    }

    /// An image and its layers.
    pub fn of(mut image: ImageConfig, layers: Vec<Layer>) -> Self {
        image.created = None;
        image.extra.retain(|key, _| key.starts_with("os."));
        let platform = image.platform();
        let old_history = image.history.len();
        let (env, args) = (Vars::default(), Vec::new());
        let idle = Vec::new();
        let mut state = Self { image, platform, env, args, layers, old_history, idle };
        state.begin();
        state
    }

    /// A stage begins: what a RUN sees is what the image says, with a PATH in any case.
    pub fn begin(&mut self) {
        let said = Vars::of_lines(&self.image.config.env);
        if said.get("PATH").is_none() {
            self.image.config.env.push(format!("PATH={PATH}"));
        }
        for line in &self.image.config.env {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            self.env.set(name, value);
        }
    }

    /// Its layers' chain ids, lowest first.
    pub fn chain(&self) -> Vec<ChainId> {
        self.layers.iter().map(|layer| layer.chain.clone()).collect()
    }

    /// The topmost layer with all below it.
    pub fn top(&self) -> Option<&ChainId> {
        self.layers.last().map(|layer| &layer.chain)
    }

    /// The working directory.
    pub fn workdir(&self) -> &str {
        match self.image.config.working_dir.as_str() {
            "" => "/",
            dir => dir,
        }
    }

    /// A step that only changed the config.
    pub fn noted(&mut self, text: String) {
        self.entry(text, None, true);
    }

    /// A step that may have made a layer.
    pub fn made(&mut self, record: &Record, blob: Option<Descriptor>, text: String) {
        if let (Some(layer), Some(chain)) = (&record.layer, &record.chain) {
            let (chain, diff_id) = (chain.clone(), layer.diff_id.clone());
            self.layers.push(Layer { chain, diff_id, blob, base: false });
            self.idle.clear();
        }
        // DIFFERS: BuildKit keeps a layer of nothing; here a step that changed nothing has none.
        self.entry(text, Some(record.created), record.layer.is_none());
    }

    fn entry(&mut self, created_by: String, created: Option<Timestamp>, empty_layer: bool) {
        self.image.history.push(History {
            created: created.map(|time| time.to_string()),
            created_by,
            comment: COMMENT.into(),
            empty_layer,
            ..History::default()
        });
    }

    /// How many arguments a RUN has, and which: the beginning of its entry in the history.
    pub fn run_text(&self, argv: &[String]) -> String {
        let mut seen: Vec<&str> = Vec::new();
        let mut values = Vec::new();
        for (name, value) in &self.args {
            if !seen.contains(&name.as_str()) {
                seen.push(name);
                let now = self.env.get(name).or_else(|| value.clone()).unwrap_or_default();
                values.push(format!("{name}={now}"));
            }
        }
        let count = if values.is_empty() { None } else { Some(format!("|{}", values.len())) };
        let words: Vec<String> = count.into_iter().chain(values).chain(argv.to_vec()).collect();
        format!("RUN {} # buildkit", words.join(" "))
    }
}
