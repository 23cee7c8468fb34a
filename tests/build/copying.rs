//! COPY and ADD.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::harbour::{Answer, Harbour};
use e2e::{Cmd, World};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// A context with a little of everything, and this Dockerfile upon busybox.
fn cargo(w: &World, name: &str, text: &str) -> PathBuf {
    let files = [
        ("Dockerfile", &*format!("FROM busybox\n{text}\n")),
        ("a.txt", "a\n"),
        ("b.txt", "b\n"),
        ("dir/inner.txt", "inner\n"),
        ("dir/sub/deep.txt", "deep\n"),
        ("dir/run.sh", "#!/bin/sh\necho ran\n"),
        ("[odd] name", "odd\n"),
    ];
    let dir = w.context(name, &files);
    fs::set_permissions(dir.join("dir/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(dir.join("b.txt"), fs::Permissions::from_mode(0o640)).unwrap();
    let _ = symlink("a.txt", dir.join("link"));
    dir
}

#[test]
fn files_and_directories_go_where_docker_puts_them() {
    let w = world();
    let text = "COPY a.txt /one
COPY a.txt /two/
COPY a.txt b.txt /three/
COPY dir /four
COPY dir/ /five/
COPY dir/* /six/
COPY *.txt /seven/
COPY [\"a.txt\", \"/eight is spaced/\"]
WORKDIR /nine
COPY dir .
COPY a.txt renamed
COPY . /ten/
COPY ./dir/../a.txt /eleven
COPY /dir/inner.txt /twelve
COPY ../link /thirteen
COPY [[]odd* /fourteen
COPY a.t?t [b-c].txt /fifteen/";
    w.build(&cargo(&w, "c", text), &["-t", "c"]).ok();
    let look = "cd /; for d in one two three four five six seven eight* nine ten eleven twelve thirteen fourteen fifteen; do
        find \"$d\" | sort; done; cat /one /eleven /twelve /thirteen /fourteen; stat -c %F /thirteen /ten/link";
    let want = "one\ntwo\ntwo/a.txt\nthree\nthree/a.txt\nthree/b.txt\n\
        four\nfour/inner.txt\nfour/run.sh\nfour/sub\nfour/sub/deep.txt\n\
        five\nfive/inner.txt\nfive/run.sh\nfive/sub\nfive/sub/deep.txt\n\
        six\nsix/deep.txt\nsix/inner.txt\nsix/run.sh\n\
        seven\nseven/a.txt\nseven/b.txt\neight is spaced\neight is spaced/a.txt\n\
        nine\nnine/inner.txt\nnine/renamed\nnine/run.sh\nnine/sub\nnine/sub/deep.txt\n\
        ten\nten/Dockerfile\nten/[odd] name\nten/a.txt\nten/b.txt\nten/dir\nten/dir/inner.txt\nten/dir/run.sh\nten/dir/sub\nten/dir/sub/deep.txt\nten/link\n\
        eleven\ntwelve\nthirteen\nfourteen\nfifteen\nfifteen/a.txt\nfifteen/b.txt\n\
        a\na\ninner\na\nodd\nregular file\nsymbolic link";
    assert_eq!(w.says("c", look), want);
}

#[test]
fn owners_and_modes_are_as_asked() {
    let w = world();
    let text = "COPY dir /plain
COPY --chown=mate:crew dir /named
COPY --chown=7:8 a.txt /numbers
COPY --chown=mate b.txt /user
COPY --chmod=600 a.txt /octal
COPY --chmod=u=rwX,go=rX dir /symbolic
ADD --chown=1000 --chmod=4755 dir/run.sh /setuid
USER mate
COPY a.txt /users";
    w.build(&cargo(&w, "c", text), &["-t", "c"]).ok();
    let look = "cd /; stat -c '%n %a %u:%g' plain plain/run.sh plain/inner.txt named named/sub/deep.txt numbers user octal \
        symbolic symbolic/run.sh symbolic/inner.txt setuid users";
    let want = "plain 755 0:0\nplain/run.sh 755 0:0\nplain/inner.txt 644 0:0\nnamed 755 1000:2000\n\
        named/sub/deep.txt 644 1000:2000\nnumbers 644 7:8\nuser 640 1000:1000\noctal 600 0:0\n\
        symbolic 755 0:0\nsymbolic/run.sh 755 0:0\nsymbolic/inner.txt 644 0:0\nsetuid 4755 1000:1000\nusers 644 0:0";
    assert_eq!(w.says("c", look), want);
    w.build(&cargo(&w, "c", "COPY --chown=nobody-here a.txt /"), &[])
        .code(1)
        .err_has("nobody-here");
}

#[test]
fn links_below_a_destination_stay_inside_and_directories_merge() {
    let w = world();
    let text = "RUN mkdir -p /real/sub /data && echo old > /data/a.txt && echo kept > /data/kept && ln -s /real /alias && chmod 700 /real
COPY a.txt /alias/
COPY dir /alias/
COPY . /data/
COPY --link a.txt /linked/a.txt
COPY --link --chown=5:6 dir /linked/";
    w.build(&cargo(&w, "c", text), &["-t", "c"]).ok();
    let look = "readlink /alias; ls /real; stat -c %a /real; cat /data/a.txt /data/kept; find /linked | sort; stat -c %u:%g /linked/sub";
    let want = "/real\na.txt\ninner.txt\nrun.sh\nsub\n700\na\nkept\n/linked\n/linked/a.txt\n/linked/inner.txt\n\
        /linked/run.sh\n/linked/sub\n/linked/sub/deep.txt\n5:6";
    assert_eq!(w.says("c", look), want);
}

#[test]
fn parents_are_kept_and_patterns_left_out_when_asked() {
    let w = world();
    let text = "COPY --parents dir/sub/deep.txt a.txt /p/
COPY --parents ./dir/./sub/*.txt /q/
COPY --parents dir/**/*.txt /r/
COPY --exclude=*.txt --exclude=dir/sub . /x/
COPY --exclude=**/*.txt dir /y/";
    w.build(&cargo(&w, "c", text), &["-t", "c"]).ok();
    let look = "cd /; for d in p q r x y; do find $d -type f | sort; done; test -e /x/dir/sub || echo without sub";
    let want = "p/a.txt\np/dir/sub/deep.txt\nq/sub/deep.txt\nr/dir/inner.txt\nr/dir/sub/deep.txt\n\
        x/Dockerfile\nx/[odd] name\nx/dir/inner.txt\nx/dir/run.sh\ny/run.sh\nwithout sub";
    assert_eq!(w.says("c", look), want);
}

#[test]
fn what_cannot_be_copied_is_refused() {
    let w = world();
    for (text, says) in [
        ("COPY nothing /", "nothing"),
        ("COPY --from=nowhere/at:all a /", "nowhere/at"),
        ("COPY --chmod=9 a.txt /", "9"),
        ("COPY a.txt", "COPY"),
        ("COPY --nonsense a.txt /", "nonsense"),
    ] {
        let done = w.build(&cargo(&w, "c", text), &["-t", "c"]).code(1);
        assert!(done.err().contains(says), "{done}");
        assert!(done.err().contains("Dockerfile:2"), "{done}");
    }
}

#[test]
fn add_unpacks_archives_by_what_they_are() {
    let w = world();
    let text = "ADD all.tar.gz /gz/
ADD not-a-name /xz/
ADD all.tar /tar/
ADD all.tar.zst /zst/
ADD fake.tar.gz /fake/
ADD plain.gz /plain/
ADD --unpack=false all.tar /kept/
COPY all.tar /copied/
ADD --chown=3:4 all.tar /owned/";
    let dir = cargo(&w, "c", text);
    let tar =
        |args: &[&str]| Cmd::new("tar").args(["-C"]).arg(dir.join("dir")).args(args).run().ok();
    for (flag, name) in [("-czf", "all.tar.gz"), ("-cJf", "not-a-name"), ("-cf", "all.tar")] {
        tar(&[flag, &dir.join(name).to_string_lossy(), "."]);
    }
    tar(&["--zstd", "-cf", &dir.join("all.tar.zst").to_string_lossy(), "."]);
    fs::write(dir.join("fake.tar.gz"), "no archive\n").unwrap();
    Cmd::new("sh").args(["-c", "echo text | gzip > plain.gz"]).cwd(&dir).run().ok();
    w.build(&dir, &["-t", "c"]).ok();
    let look = "cd /; for d in gz xz tar zst fake plain kept copied; do find $d -type f | sort; done; stat -c '%u:%g' /owned/inner.txt /gz/inner.txt";
    let each = |d: &str| format!("{d}/inner.txt\n{d}/run.sh\n{d}/sub/deep.txt\n");
    let all: String = ["gz", "xz", "tar", "zst"].map(each).concat();
    let want =
        format!("{all}fake/fake.tar.gz\nplain/plain.gz\nkept/all.tar\ncopied/all.tar\n3:4\n0:0");
    assert_eq!(w.says("c", look), want);
}

#[test]
fn what_is_ignored_is_not_there() {
    let w = world();
    let dir = cargo(&w, "c", "COPY . /x/\nCOPY dir /y/");
    fs::write(
        dir.join(".dockerignore"),
        "# a comment\n*.txt\n!b.txt\n**/deep.txt\n/dir/run.sh\nDockerfile\n.dockerignore\n",
    )
    .unwrap();
    w.build(&dir, &["-t", "c"]).ok();
    let look = "cd /; find x y -type f | sort";
    let want = "x/[odd] name\nx/b.txt\nx/dir/inner.txt\ny/inner.txt";
    assert_eq!(w.says("c", look), want);
    // One of the Dockerfile's own goes before it.
    fs::copy(dir.join("Dockerfile"), dir.join("other")).unwrap();
    fs::write(dir.join("other.dockerignore"), "*\n!dir\ndir/*\n!dir/run.sh\n").unwrap();
    w.build(&dir, &["-t", "c", "-f", dir.join("other").to_str().unwrap()]).ok();
    assert_eq!(w.says("c", look), "x/dir/run.sh\ny/run.sh");
    fs::write(dir.join(".dockerignore"), "a.txt\n").unwrap();
    let text = "FROM busybox\nCOPY a.txt /\n";
    fs::write(dir.join("Dockerfile"), text).unwrap();
    w.build(&dir, &[]).code(1).err_has("a.txt");
}

#[test]
fn add_takes_urls_and_checks_them() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let w = world();
    let server = Harbour::open(|_| {
        ASKED.fetch_add(1, Ordering::SeqCst);
        Answer::body("spice\n")
    });
    let url = format!("http://{}/cargo.txt", server.host());
    let sum = Cmd::new("sha256sum").stdin("spice\n").run().ok().out();
    let sum = sum.split(' ').next().unwrap();
    let text = format!(
        "ADD {url} /named\nADD {url} /dir/\nADD --checksum=sha256:{sum} --chmod=644 {url} /checked"
    );
    w.build(&cargo(&w, "c", &text), &["-t", "c"]).ok();
    let look = "cat /named /dir/cargo.txt /checked; stat -c %a /named /checked";
    assert_eq!(w.says("c", look), "spice\nspice\nspice\n600\n644");
    let text = format!("ADD --checksum=sha256:{} {url} /x", "0".repeat(64));
    w.build(&cargo(&w, "c", &text), &[]).code(1).err_has("sha256");
    // Of what is known by its digest nothing has to be fetched again.
    let text = format!("ADD --checksum=sha256:{sum} {url} /x");
    let asked = || ASKED.load(Ordering::SeqCst);
    w.build(&cargo(&w, "c", &text), &[]).ok();
    let before = asked();
    w.build(&cargo(&w, "c", &text), &["-t", "c"]).ok().err_has("CACHED");
    assert_eq!((asked(), w.says("c", "cat /x")), (before, "spice".to_owned()));
    w.build(&cargo(&w, "c", &text), &["--no-cache"]).ok();
    assert!(asked() > before);
}
