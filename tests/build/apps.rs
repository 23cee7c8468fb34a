//! Real applications, built, run and asked over `-p`.

use e2e::{Wires, World, fixtures, needs, until};

const FLASK: &str = "# syntax=docker/dockerfile:1
FROM python AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app

FROM base AS deps
COPY requirements.txt .
RUN --mount=type=bind,from=wheels,target=/wheels \\
    --mount=type=cache,target=/root/.cache/pip \\
    pip install --break-system-packages --no-index --find-links=/wheels --target=/deps -r requirements.txt

FROM base
ARG UID=10001
RUN adduser --disabled-password --gecos \"\" --home /nonexistent --shell /sbin/nologin \\
    --no-create-home --uid \"${UID}\" appuser || useradd -u \"${UID}\" appuser
COPY --from=deps /deps /deps
ENV PYTHONPATH=/deps FLASK_APP=hello
USER appuser
COPY . .
EXPOSE 8000
HEALTHCHECK --interval=1s CMD python3 -c \"import urllib.request as u; u.urlopen('http://localhost:8000')\"
CMD [\"python3\", \"-m\", \"flask\", \"run\", \"--host=0.0.0.0\", \"--port=8000\"]
";

const HELLO: &str = "import os, pwd
from flask import Flask, request
app = Flask(__name__)

@app.route('/')
def hello():
    return f'ahoy {request.args.get(\"who\", \"there\")} from {pwd.getpwuid(os.getuid()).pw_name}\\n'
";

#[test]
fn a_flask_application_is_built_and_answers() {
    needs!(Root);
    let w = World::wired();
    w.add(&fixtures::python_layout(), "python");
    let files = [
        ("Dockerfile", FLASK),
        ("hello.py", HELLO),
        ("requirements.txt", "flask==3.0.3\n"),
        (".dockerignore", "__pycache__\n*.md\n"),
    ];
    let dir = w.context("flask", &files);
    let wheels = format!("wheels={}", fixtures::wheels().display());
    w.build(&dir, &["-t", "flask", "--build-context", &wheels]).ok();
    w.dhow(["run", "-d", "--name", "web", "-p", "8080:8000", "flask"]).ok();
    let url = format!("http://{}:8080/?who=mate", Wires::SERVER);
    let ask = || w.client(["curl", "-s", "--max-time", "5", &url]);
    until("flask serves", || ask().code == 0);
    ask().ok().out_is("ahoy mate from appuser");
    // A changed line: nothing is installed again.
    w.context("flask", &[("hello.py", &HELLO.replace("ahoy", "aye"))]);
    let again = w.build(&dir, &["-t", "flask", "--build-context", &wheels]).ok().err();
    assert!(!again.contains("Installing"), "{again}");
    w.dhow(["rm", "-f", "web"]).ok();
    w.dhow(["run", "-d", "--name", "web", "-p", "8080:8000", "flask"]).ok();
    until("flask serves again", || ask().code == 0);
    ask().ok().out_is("aye mate from appuser");
    w.remove_all();
}

const NGINX: &str = "FROM debian
RUN --mount=type=bind,from=mirror,target=/mirror <<EOF
set -e
rm -rf /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/mirror ./' > /etc/apt/sources.list
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nginx-light
rm -rf /var/lib/apt/lists/*
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
EOF
COPY site /var/www/html/
COPY <<'EOF' /etc/nginx/conf.d/who.conf
server { listen 8000; location / { return 200 \"$remote_addr\\n\"; } }
EOF
EXPOSE 80 8000
STOPSIGNAL SIGQUIT
CMD [\"nginx\", \"-g\", \"daemon off;\"]
";

#[test]
fn a_site_on_debians_nginx_is_built_and_answers() {
    needs!(Root);
    let w = World::wired();
    w.add(&fixtures::layout(), "debian");
    let files =
        [("Dockerfile", NGINX), ("site/index.html", "<h1>ahoy</h1>\n"), ("site/deep/a.txt", "a\n")];
    let dir = w.context("nginx", &files);
    let mirror = format!("mirror={}", fixtures::debian_mirror().display());
    w.build(&dir, &["-t", "site", "--build-context", &mirror]).ok();
    w.dhow(["run", "-d", "--name", "web", "-p", "8080:80", "-p", "8081:8000", "site"]).ok();
    let ask = |rest: &str| {
        let url = format!("http://{}:{rest}", Wires::SERVER);
        w.client(["curl", "-sf", "--max-time", "5", &url])
    };
    until("nginx serves", || ask("8080/").code == 0);
    ask("8080/").ok().out_is("<h1>ahoy</h1>");
    ask("8080/deep/a.txt").ok().out_is("a");
    ask("8081/").ok().out_is(Wires::CLIENT);
    w.dhow(["logs", "web"]).ok().out_has("GET /deep/a.txt");
    w.dhow(["stop", "web"]).ok();
    w.dhow(["inspect", "-f", "{{.State.ExitCode}}", "web"]).ok().out_is("0");
    w.remove_all();
}
