//! Where images are built: a world's contexts, its builds, and what came of them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Cmd, Done, World};

impl World {
    /// A directory with these files, of which one may be the Dockerfile; those that are there stay.
    /// A name that ends with `/` is a directory.
    pub fn context(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        for (file, text) in files {
            let path = dir.join(file);
            if file.ends_with('/') {
                fs::create_dir_all(path).unwrap();
                continue;
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    /// `dhow build --progress plain FLAGS DIR`, not yet run.
    pub fn build_cmd(&self, dir: &Path, flags: &[&str]) -> Cmd {
        self.dhow_cmd(["build", "--progress", "plain"]).args(flags).arg(dir)
    }

    /// The same, run.
    pub fn build(&self, dir: &Path, flags: &[&str]) -> Done {
        self.build_cmd(dir, flags).run()
    }

    /// Builds a Dockerfile that has nothing beside it, as `name`.
    #[track_caller]
    pub fn build_text(&self, name: &str, text: &str) -> Done {
        self.build(&self.context("alone", &[("Dockerfile", text)]), &["-t", name])
    }

    /// What a script says in a container of an image, whatever its entrypoint is.
    #[track_caller]
    pub fn says(&self, image: &str, script: &str) -> String {
        let args = ["run", "--rm", "--entrypoint", "/bin/sh", image, "-c", script];
        self.dhow(args).ok().out()
    }

    /// An image's `docker inspect`.
    #[track_caller]
    pub fn inspect(&self, image: &str) -> Value {
        self.dhow(["image", "inspect", image]).ok().json()[0].clone()
    }
}
