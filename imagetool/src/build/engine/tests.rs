use std::fs;
use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::build::progress::{Event, Stream};
use crate::build::run::{Container, End};
use crate::build::{Wants, context, dockerfile};
use crate::config::ImageConfig;
use crate::registry::Settings;

/// Runs nothing: a RUN's words say what to write where.
struct Scribe(Mutex<usize>);

impl Runner for Scribe {
    fn run(&self, c: &Container<'_>, wrote: &mut dyn FnMut(Stream, &[u8])) -> Result<End> {
        *self.0.lock().unwrap() += 1;
        wrote(Stream::Stdout, b"ran\n");
        match c.argv.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["write", name, text] => {
                fs::write(c.root.path().join(name), text).unwrap();
                Ok(End::Code(0))
            }
            ["remove", name] => {
                fs::remove_file(c.root.path().join(name)).unwrap();
                Ok(End::Code(0))
            }
            ["edit", path, text] => {
                fs::write(path, text).unwrap();
                Ok(End::Code(0))
            }
            ["true"] => Ok(End::Code(0)),
            _ => Ok(End::Code(3)),
        }
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Watcher for Told {
    fn tell(&self, event: Event<'_>) {
        let text = match event {
            Event::Began(_, name) => name.to_owned(),
            Event::Cached(_) => "CACHED".to_owned(),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

struct World {
    dir: tempfile::TempDir,
    store: Store,
    scribe: Scribe,
}

struct Got {
    id: String,
    config: ImageConfig,
    told: Vec<String>,
    files: Vec<String>,
}

impl World {
    fn new() -> Option<Self> {
        // Mounting is root's.
        if !nix::unistd::geteuid().is_root() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("context")).unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Some(Self { dir, store, scribe: Scribe(Mutex::new(0)) })
    }

    fn context(&self) -> std::path::PathBuf {
        self.dir.path().join("context")
    }

    fn build(&self, text: &str, order: &Order) -> Result<Got> {
        self.build_with(text, order, &[], &[])
    }

    fn build_with(
        &self,
        text: &str,
        order: &Order,
        import: &[CacheFrom],
        export: &[CacheTo],
    ) -> Result<Got> {
        let settings = Settings::default();
        let spool = tempfile::tempdir().unwrap();
        let cancel = Cancel::new().unwrap();
        let fetch = Fetch {
            settings: &settings,
            scratch: spool.path(),
            search: &[],
            agent: None,
            cancel: &cancel,
        };
        fs::write(self.context().join("Dockerfile"), text).unwrap();
        let place = self.context();
        let asked = context::Asked {
            place: place.to_str().unwrap(),
            file: None,
            stdin: None,
            fetch,
            keep_git_dir: false,
            memory: None,
        };
        let context = context::open(asked)?;
        let file = dockerfile::parse(text.as_bytes(), "Dockerfile")?;
        let told = Told::default();
        let built = build(&Build {
            store: &self.store,
            order,
            file: &file,
            context: &context,
            named: &BTreeMap::new(),
            runner: &self.scribe,
            fetch: &fetch,
            watcher: &told,
            steps: &AtomicUsize::new(0),
            cancel: &cancel,
            import,
            export,
        })?;
        if built.manifest.is_some() {
            built.publish(&[])?;
        }
        let mut tar = Vec::new();
        built.export(&mut tar)?;
        let mut files = Vec::new();
        for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
            files.push(entry.unwrap().path().unwrap().display().to_string());
        }
        Ok(Got {
            id: built.id.as_ref().map(ToString::to_string).unwrap_or_default(),
            config: built.config.clone(),
            told: told.0.into_inner().unwrap(),
            files,
        })
    }

    fn ran(&self) -> usize {
        *self.scribe.0.lock().unwrap()
    }
}

const WHOLE: &str = "FROM scratch AS tools\nRUN [\"write\", \"tool\", \"t\"]\n\
    FROM scratch\nARG V=1\nENV A=$V\nWORKDIR /srv/x\nCOPY f ./\nCOPY --from=tools /tool /bin/tool\n\
    RUN [\"true\"]\nRUN [\"remove\", \"srv/x/f\"]\nLABEL k=v\nCMD [\"/bin/tool\"]\n";

#[test]
fn a_build_is_the_same_again_and_runs_nothing() {
    let Some(world) = World::new() else { return };
    fs::write(world.context().join("f"), "content").unwrap();
    let first = world.build(WHOLE, &Order::default()).unwrap();
    assert_eq!(first.files, ["bin/", "bin/tool", "srv/", "srv/x/"]);
    assert_eq!(world.ran(), 3);
    let config = &first.config.config;
    assert_eq!(config.working_dir, "/srv/x");
    assert_eq!(config.cmd.as_deref(), Some(&["/bin/tool".to_owned()][..]));
    assert!(config.env.contains(&"A=1".to_owned()) && config.env[0].starts_with("PATH="));
    let history: Vec<(&str, bool)> =
        first.config.history.iter().map(|h| (h.created_by.as_str(), h.empty_layer)).collect();
    assert_eq!(
        history,
        [
            ("ARG V=1", true),
            ("ENV A=1", true),
            ("WORKDIR /srv/x", false),
            ("COPY f ./ # buildkit", false),
            ("COPY /tool /bin/tool # buildkit", false),
            ("RUN |1 V=1 true # buildkit", true),
            ("RUN |1 V=1 remove srv/x/f # buildkit", false),
            ("LABEL k=v", true),
            ("CMD [\"/bin/tool\"]", true),
        ]
    );
    assert_eq!(first.config.rootfs.diff_ids.len(), 4);
    let again = world.build(WHOLE, &Order::default()).unwrap();
    assert_eq!(world.ran(), 3);
    assert_eq!(again.id, first.id);
    assert_eq!(again.told.iter().filter(|t| *t == "CACHED").count(), 6, "{:?}", again.told);
    // Other content makes other layers from there on.
    fs::write(world.context().join("f"), "other").unwrap();
    let other = world.build(WHOLE, &Order::default()).unwrap();
    assert_ne!(other.id, first.id);
    assert_eq!(world.ran(), 5);
    let order = Order { no_cache: true, ..Order::default() };
    world.build(WHOLE, &order).unwrap();
    assert_eq!(world.ran(), 8);
}

#[test]
fn a_step_that_fails_is_told_with_its_line_and_others_are_kept() {
    let Some(world) = World::new() else { return };
    let text = "FROM scratch\nRUN [\"write\", \"a\", \"1\"]\nRUN [\"fail\", \"x\"]\n";
    for ran in [2, 3] {
        let said = world.build(text, &Order::default()).err().unwrap().to_string();
        assert!(said.contains("Dockerfile:3"), "{said}");
        assert!(said.contains("\"fail x\" did not complete successfully: exit code: 3"), "{said}");
        assert_eq!(world.ran(), ran);
    }
    let left: Vec<_> =
        fs::read_dir(world.store.tmp()).unwrap().flatten().map(|e| e.path()).collect();
    assert!(left.iter().all(|p: &std::path::PathBuf| !is_work(p)), "{left:?}");
}

fn is_work(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("work-"))
}

#[test]
fn with_an_epoch_two_stores_make_one_image() {
    let (Some(one), Some(two)) = (World::new(), World::new()) else { return };
    let epoch = Some(Timestamp::from_second(1_000_000_000).unwrap());
    let order = Order { epoch, ..Order::default() };
    let ids: Vec<String> = [&one, &two]
        .iter()
        .map(|world| {
            fs::write(world.context().join("f"), "content").unwrap();
            world.build(WHOLE, &order).unwrap().id
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn blobs_are_made_later_if_they_were_not_wanted() {
    let Some(world) = World::new() else { return };
    fs::write(world.context().join("f"), "content").unwrap();
    let epoch = Some(Timestamp::from_second(1_000_000_000).unwrap());
    let files = Order { wants: Wants::Files, epoch, ..Order::default() };
    assert_eq!(world.build(WHOLE, &files).unwrap().id, "");
    let order = Order { epoch, ..Order::default() };
    let late = world.build(WHOLE, &order).unwrap();
    assert_eq!(world.ran(), 3);
    let other = World::new().unwrap();
    fs::write(other.context().join("f"), "content").unwrap();
    assert_eq!(other.build(WHOLE, &order).unwrap().id, late.id);
}

#[test]
fn what_no_image_needs_stays_for_the_cache_until_it_is_pruned() {
    let Some(world) = World::new() else { return };
    fs::write(world.context().join("f"), "content").unwrap();
    world.build(WHOLE, &Order::default()).unwrap();
    let none = std::collections::HashSet::new();
    assert!(world.store.collect(&none).unwrap().layers.is_empty());
    let all = crate::build::cache::usage(&world.store).unwrap();
    // What is remembered of a context's files, besides, is of their age.
    let own = all.iter().filter(|e| !e.is_mutable() && !e.shared);
    assert_eq!(own.count(), 2, "{all:?}");
    let filter = crate::build::cache::Filter { all: true, ..Default::default() };
    let gone = crate::build::cache::prune(&world.store, &filter, &none).unwrap();
    assert!(gone.entries.len() >= 6);
    assert!(crate::build::cache::usage(&world.store).unwrap().is_empty());
    world.build(WHOLE, &Order::default()).unwrap();
    assert_eq!(world.ran(), 6);
}

#[test]
fn a_cache_travels() {
    let (Some(one), Some(two), Some(three)) = (World::new(), World::new(), World::new()) else {
        return;
    };
    for world in [&one, &two, &three] {
        fs::write(world.context().join("f"), "content").unwrap();
    }
    let order = Order::default();
    let dir = one.dir.path().join("cache");
    let to = |all| CacheTo::Local { dir: dir.clone(), tag: None, all };
    let from = [CacheFrom::Local { dir: dir.clone(), which: None }];
    let first = one.build_with(WHOLE, &order, &[], &[to(true)]).unwrap();
    let again = two.build_with(WHOLE, &order, &from, &[]).unwrap();
    assert_eq!((two.ran(), &again.id), (0, &first.id));
    // Without the other stages, those are made again; nothing else is.
    one.build_with(WHOLE, &order, &[], &[to(false)]).unwrap();
    let again = three.build_with(WHOLE, &order, &from, &[]).unwrap();
    assert_eq!(three.ran(), 1);
    assert_eq!(again.files, first.files);
    let nowhere = [CacheFrom::Local { dir: "/nonexistent".into(), which: None }];
    assert_eq!(three.build_with(WHOLE, &order, &nowhere, &[]).unwrap().id, again.id);
}

#[test]
fn squashed_it_is_one_layer_with_the_same_files() {
    let Some(world) = World::new() else { return };
    fs::write(world.context().join("f"), "content").unwrap();
    let plain = world.build(WHOLE, &Order::default()).unwrap();
    let order = Order { squash: true, ..Order::default() };
    let one = world.build(WHOLE, &order).unwrap();
    assert_eq!(one.files, plain.files);
    assert_eq!(one.config.rootfs.diff_ids.len(), 1);
    let layers = one.config.history.iter().filter(|h| !h.empty_layer).count();
    assert_eq!((layers, one.config.history.len()), (1, plain.config.history.len() + 1));
    assert_eq!(world.build(WHOLE, &order).unwrap().id, one.id);
}

#[test]
fn triggers_of_a_stage_are_made_in_those_upon_it() {
    let Some(world) = World::new() else { return };
    let text = "FROM scratch AS a\nONBUILD RUN [\"write\", \"b\", \"1\"]\nONBUILD ENV X=1\n\
        FROM a\nRUN [\"write\", \"c\", \"2\"]\n";
    let built = world.build(text, &Order::default()).unwrap();
    assert_eq!(built.files, ["b", "c"]);
    assert!(built.config.config.on_build.is_empty());
    assert!(built.config.config.env.contains(&"X=1".to_owned()));
    assert!(built.told.iter().any(|t| t.contains("ONBUILD RUN")), "{:?}", built.told);
}

#[test]
fn the_first_failure_ends_all_stages() {
    let Some(world) = World::new() else { return };
    let text = "FROM scratch AS a\nRUN [\"fail\", \"a\"]\nFROM scratch AS b\nRUN [\"true\"]\n\
        FROM scratch\nCOPY --from=a /x /x\nCOPY --from=b /y /y\n";
    let said = world.build(text, &Order::default()).err().unwrap().to_string();
    assert!(said.contains("exit code: 3"), "{said}");
}

#[test]
fn what_read_files_that_changed_meanwhile_is_not_kept() {
    let Some(world) = World::new() else { return };
    let file = world.context().join("f");
    let text = format!(
        "FROM scratch\nRUN --mount=type=bind,target=/src [\"edit\", {:?}, \"new\"]\n",
        file.display().to_string()
    );
    // Changed by each of the first two, then it is as it was.
    for (content, ran) in [("old", 1), ("old", 2), ("new", 3), ("new", 3)] {
        fs::write(&file, content).unwrap();
        world.build(&text, &Order::default()).unwrap();
        assert_eq!(world.ran(), ran, "{content}");
    }
}

#[test]
fn a_stage_upon_another_begins_with_its_image_s_variables() {
    let Some(world) = World::new() else { return };
    let text = "FROM scratch AS a\nENV V=1\nARG V=2\nARG X=3\nFROM a\nENV W=$V$X\n";
    let built = world.build(text, &Order::default()).unwrap();
    assert!(built.config.config.env.contains(&"W=13".to_owned()), "{:?}", built.config.config.env);
}
