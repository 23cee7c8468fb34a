//! install.sh and the Debian package: what is put where, what is refused, and that it is used.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use e2e::{Cmd, Ordinary, World, needs, workspace};

/// Man pages, completions and units; `make test` has made them.
pub fn pages() -> PathBuf {
    static PAGES: OnceLock<PathBuf> = OnceLock::new();
    PAGES
        .get_or_init(|| {
            let pages = workspace().join("target/pages");
            if !pages.join("systemd/user/dhow.service").exists() {
                let made = Command::new("make").arg("-sC").arg(workspace()).arg("pages").status();
                assert!(made.unwrap().success(), "make pages");
            }
            pages
        })
        .clone()
}

fn install(w: &World, args: &[&str]) -> Cmd {
    let bin = fs::canonicalize(e2e::program("dhow")).unwrap();
    w.cmd("sh")
        .arg(workspace().join("install.sh"))
        .args(["--destdir".as_ref(), w.path("dest").as_os_str(), "--bin".as_ref()])
        .arg(bin.parent().unwrap())
        .args(["--pages".as_ref(), pages().as_os_str()])
        .args(args)
}

fn files(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            } else {
                all.push(entry.path().strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    all.sort();
    all
}

#[test]
fn what_is_installed_runs_and_goes_without_a_trace() {
    needs!(Machine);
    let w = World::new();
    let dest = w.path("dest");
    let mirror = "https://mirror.example:5000/hub";
    install(&w, &["--mirror", mirror]).run().ok().out_has("installed in ");
    let all = files(&dest);
    for file in [
        "usr/local/bin/dhow",
        "usr/local/bin/dhow-image",
        "usr/local/bin/dhow-runtime",
        "usr/local/lib/systemd/system/dhow.service",
        "usr/local/lib/systemd/user/dhow.service",
        "usr/local/share/man/man1/dhow-system-generate.1",
        "usr/local/share/man/man8/dhow-runtime.8",
        "usr/local/share/bash-completion/completions/dhow-image",
        "usr/local/share/zsh/site-functions/_dhow",
        "usr/local/share/fish/vendor_completions.d/dhow-runtime.fish",
        "etc/dhow/daemon.json",
    ] {
        assert!(all.iter().any(|f| f == file), "{file} in {all:?}");
    }
    assert!(!all.iter().any(|f| f.contains(".new")), "{all:?}");
    let unit = fs::read_to_string(dest.join("usr/local/lib/systemd/system/dhow.service")).unwrap();
    assert!(unit.contains("\nExecStart=-/usr/local/bin/dhow system start\n"), "{unit}");
    assert!(unit.contains("\nExecStop=/usr/local/bin/dhow system stop\n"), "{unit}");
    // Used: the program finds the runtime beside it, and hears of the mirror.
    let dhow = w.cmd(dest.join("usr/local/bin/dhow"));
    let dhow = dhow.env("DHOW_DAEMON_JSON", dest.join("etc/dhow/daemon.json"));
    dhow.clone().args(["run", "--rm", "--network", "none", "hello"]).run().ok();
    dhow.args(["info", "--format", "{{json .RegistryConfig.Mirrors}}"]).run().ok().out_has(mirror);
    // Once more, over an older version that had a page more: nothing is there twice, the page goes.
    let list = dest.join("usr/local/share/dhow/installed");
    let old = "/usr/local/share/man/man1/dhow-old.1";
    let known = fs::read_to_string(&list).unwrap();
    fs::write(&list, format!("{known}{old}\n/etc/passwd\n/usr/local/../../dhow\n")).unwrap();
    fs::write(dest.join(&old[1..]), "").unwrap();
    fs::write(dest.join("etc/passwd"), "").unwrap();
    install(&w, &["--mirror", "http://other"]).run().ok();
    assert_eq!(fs::read_to_string(&list).unwrap(), known);
    assert_eq!(files(&dest), [&all[..], &["etc/passwd".to_owned()]].concat().sorted());
    let settings = fs::read_to_string(dest.join("etc/dhow/daemon.json")).unwrap();
    assert_eq!(settings, "{\"registry-mirrors\": [\"http://other\"]}\n");
    install(&w, &["--uninstall"]).run().ok().out_has("removed from ");
    assert_eq!(files(&dest), ["etc/dhow/daemon.json", "etc/passwd"]);
    install(&w, &["--uninstall"]).run().code(1).err_has("nothing is installed");
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl Sorted for Vec<String> {
    fn sorted(mut self) -> Self {
        self.sort();
        self
    }
}

#[test]
fn what_is_typed_wrongly_is_told_in_one_line_before_anything_is_written() {
    needs!(Machine);
    let w = World::new();
    for (args, words) in [
        (&["--nope"][..], "unknown option --nope"),
        (&["--prefix"], "--prefix wants a value"),
        (&["--prefix="], "--prefix wants a value"),
        (&["--prefix", "usr"], "it has to begin with /"),
        (&["--prefix", "/a b"], "letters, digits"),
        (&["--prefix", "/a/../b"], "without . and .."),
        (&["--mirror", "mirror.example"], "a URL begins with https://"),
        (&["--mirror", "https://a\"b"], "letters, digits"),
        (&["--mirror", "https://a", "--uninstall"], "don't go together"),
        (&["--enable"], "--enable is for this machine"),
        (&["--bin", "/nowhere"], "/nowhere/dhow is not there"),
        (&["--pages", "/nowhere"], "run make pages"),
    ] {
        let done = install(&w, args).run().code(1);
        assert_eq!(done.err().lines().count(), 1, "{done}");
        assert!(done.err().starts_with("install.sh: ") && done.err().contains(words), "{done}");
        assert!(files(&w.path("dest")).is_empty(), "{args:?}");
    }
}

/// A disk that gets full at one point or another, until it is large enough.
#[test]
fn a_full_disk_leaves_whole_files_and_no_others() {
    needs!(Root, Machine);
    let w = World::new();
    let bin = w.path("small");
    fs::create_dir(&bin).unwrap();
    for program in ["dhow", "dhow-image", "dhow-runtime"] {
        fs::write(bin.join(program), vec![b'#'; 50_000]).unwrap();
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let args = ["--bin", bin.to_str().unwrap(), "--mirror", "https://mirror.example"];
    install(&w, &args).run().ok();
    let whole = w.path("whole");
    fs::rename(w.path("dest"), &whole).unwrap();
    let script = "mkdir -p \"$1\"; mount -t tmpfs -o \"size=$2\" none \"$1\"; to=$3; shift 3
        \"$@\"; code=$?; cp -a \"$0\" \"$to\"; exit $code";
    let (mut failed, mut size) = (0, 100);
    loop {
        let (dest, got) = (w.path("dest"), w.path(format!("got{size}")));
        let size_of = format!("{size}k");
        let before = ["unshare", "-m", "sh", "-c", script].map(OsString::from);
        let first = [dest.clone(), dest, size_of.into(), got.clone()].map(OsString::from);
        let done = install(&w, &args).under(before.into_iter().chain(first)).run();
        for file in files(&got).iter().filter(|file| !file.ends_with("dhow/installed")) {
            let same = fs::read(got.join(file)).unwrap() == fs::read(whole.join(file)).unwrap();
            assert!(same, "{file} with {size} KiB: {done}");
        }
        if done.code == 0 {
            break;
        }
        done.code(1).err_has("No space left").err_has("install.sh: ");
        assert!(!got.join("usr/local/share/dhow/installed").exists(), "{size} KiB");
        (failed, size) = (failed + 1, size + 150);
    }
    assert!(failed > 2, "{failed} full disks");
}

#[test]
fn bug_settings_of_somebody_s_were_written_over() {
    needs!(Machine);
    let w = World::new();
    let mirror = ["--mirror", "https://m.example"];
    for (place, text) in [
        ("etc/dhow/daemon.json", r#"{"mtu": 1400}"#),
        ("etc/dhow/daemon.json", r#"{"registry-mirrors": ["https://a"], "labels": ["b"]}"#),
        ("etc/dhow/daemon.json", r#"{"registry-mirrors": ["https://a", "https://b"]}"#),
        ("etc/dhow/daemon.json", r#"{"insecure-registries": ["https://m.example"]}"#),
        ("etc/docker/daemon.json", "{}"),
        ("etc/default/docker", "export DOCKER_OPTS=--icc=false\n"),
    ] {
        let path = w.path("dest").join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        install(&w, &mirror).run().code(1).err_has("add ").err_has("leave --mirror away");
        assert_eq!(files(&w.path("dest")), [place]);
        assert_eq!(fs::read_to_string(path).unwrap(), text);
        fs::remove_dir_all(w.path("dest")).unwrap();
    }
    // It is in there already.
    let path = w.path("dest/etc/dhow/daemon.json");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = r#"{"mtu": 1400, "registry-mirrors": ["https://a", "https://m.example"]}"#;
    fs::write(&path, text).unwrap();
    install(&w, &mirror).run().ok();
    assert_eq!(fs::read_to_string(path).unwrap(), text);
}

/// Another /etc and /run, and a systemd that notes what it is asked; `$1` is the world.
const MACHINE: &str = r#"
    mkdir -p "$1/etc" "$1/fake"
    mount --bind "$1/etc" /etc; mount -t tmpfs none /run; mkdir -p /run/systemd/system
    cat >"$1/fake/systemctl" <<EOF
#!/bin/sh
echo "\$*" >>$1/asked
case "\$*" in *show*) echo "FragmentPath=\$(cat $1/fragment)" ;; esac
EOF
    chmod 755 "$1/fake/systemctl"; PATH=$1/fake:$PATH; cd "$1"; shift; exec "$@""#;

#[test]
fn bug_uninstalling_ended_the_containers_of_another_installation() {
    needs!(Root, Machine);
    let w = World::new();
    let (dir, prefix) = (w.path("").display().to_string(), w.path("p").display().to_string());
    let bin = fs::canonicalize(e2e::program("dhow")).unwrap();
    let call = |args: &[&str]| {
        let call = w.cmd("sh").arg(workspace().join("install.sh")).args(["--prefix", &prefix]);
        let call = call.arg("--bin").arg(bin.parent().unwrap()).arg("--pages").arg(pages());
        call.args(args).under(["unshare", "-m", "sh", "-ec", MACHINE, "sh", &dir]).run().ok()
    };
    for (loaded, ends) in [
        ("/usr/lib/systemd/system/dhow.service", false),
        ("/etc/systemd/system/dhow.service", true),
    ] {
        call(&[]);
        fs::write(w.path("fragment"), loaded).unwrap();
        call(&["--uninstall"]);
        let asked = fs::read_to_string(w.path("asked")).unwrap();
        assert_eq!(asked.contains("disable --now dhow.service"), ends, "{asked}");
        assert!(files(&w.path("etc")).is_empty());
    }
}

#[test]
fn bug_a_user_s_unit_stayed_enabled_when_it_was_gone() {
    needs!(Root, Machine);
    let w = World::new();
    let ann = Ordinary::new(&w, false);
    // What the user can't read lies elsewhere.
    let to = w.path("src");
    w.cmd("cp").args(["-rL"]).arg(pages()).arg(&to).run().ok();
    fs::copy(workspace().join("install.sh"), to.join("install.sh")).unwrap();
    let call = |args: &[&str]| {
        let (script, bin) = (to.join("install.sh"), w.path("bin"));
        let call = ["sh".as_ref(), script.as_os_str(), "--bin".as_ref(), bin.as_os_str()];
        let pages = ["--pages".as_ref(), to.as_os_str()];
        ann.cmd(call).args(pages).args(args).without_env("XDG_CONFIG_HOME").run().ok()
    };
    call(&[]);
    let home = w.path("home");
    assert!(home.join(".local/bin/dhow").exists());
    let wants = home.join(".config/systemd/user/default.target.wants");
    fs::create_dir(&wants).unwrap();
    std::os::unix::fs::chown(&wants, Some(ann.uid()), None).unwrap();
    std::os::unix::fs::symlink("../dhow.service", wants.join("dhow.service")).unwrap();
    call(&["--uninstall"]);
    assert!(files(&home).is_empty(), "{:?}", files(&home));
}

/// The package's metadata names what is there, and all of it.
#[test]
fn the_package_has_every_page_and_program() {
    needs!(Machine);
    let manifest = fs::read_to_string(workspace().join("shim/Cargo.toml")).unwrap();
    let deb = manifest.split("[package.metadata.deb]").nth(1).unwrap();
    let assets = deb.split("assets = [").nth(1).unwrap().split("\n]").next().unwrap();
    let sources: Vec<&str> = assets
        .lines()
        .filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next())
        .collect();
    for source in &sources {
        let path = source.trim_end_matches("*.md").trim_end_matches('*');
        let path = match path.strip_prefix("../target/package/pages/") {
            Some(page) => pages().join(page),
            None if path.starts_with("../target/package/bin") => continue,
            None => workspace().join("shim").join(path),
        };
        assert!(path.exists(), "{source}");
    }
    for dir in fs::read_dir(pages()).unwrap().flatten() {
        let name = dir.file_name().into_string().unwrap();
        // Windows' shell on Linux has no place of its own; the machine's unit goes by another key.
        let packed = sources.iter().any(|s| s.contains(&format!("pages/{name}/")));
        assert!(packed || name == "powershell", "{name} of the pages is not in the package");
    }
    assert!(deb.contains("unit-scripts = \"../target/package/pages/systemd/system\""));
    if Command::new("cargo-deb").arg("--version").output().is_ok_and(|o| o.status.success()) {
        package();
    }
}

/// Builds it, where cargo-deb is installed, and unpacks it.
fn package() {
    let w = World::new();
    let bin = fs::canonicalize(e2e::program("dhow")).unwrap();
    let deb = w.cmd(workspace().join("tests/deb.sh")).arg(bin.parent().unwrap()).arg(pages());
    deb.arg(w.path("out")).limit(120).run().ok();
    let deb = fs::read_dir(w.path("out")).unwrap().next().unwrap().unwrap().path();
    let fields = w.cmd("dpkg-deb").arg("-f").arg(&deb).run().ok().out();
    assert!(fields.contains("Package: dhow\n") && !fields.contains("Depends: libc"), "{fields}");
    w.cmd("dpkg-deb").arg("-x").arg(&deb).arg(w.path("dest")).run().ok();
    w.cmd("dpkg-deb").arg("-e").arg(&deb).arg(w.path("control")).run().ok();
    let all = files(&w.path("dest"));
    for file in ["usr/bin/dhow", "usr/share/man/man1/dhow.1.gz", "usr/share/doc/dhow/copyright"] {
        assert!(all.iter().any(|f| f == file), "{file} in {all:?}");
    }
    assert!(all.iter().any(|f| f.ends_with("lib/systemd/system/dhow.service")), "{all:?}");
    let postinst = fs::read_to_string(w.path("control/postinst")).unwrap();
    assert!(postinst.contains("deb-systemd-helper enable dhow.service"), "{postinst}");
    w.cmd(w.path("dest/usr/bin/dhow"))
        .args(["run", "--rm", "--network", "none", "hello"])
        .run()
        .ok();
}
