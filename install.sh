#!/bin/sh
# install.sh: puts dhow, dhow-image and dhow-runtime, their man pages, completions and systemd units
# where they belong. It downloads nothing: `make && make pages` (or `make install`) comes before.
#
#   ./install.sh [OPTION…]             install, or install anew over an older version
#   ./install.sh --uninstall [OPTION…] remove what was installed; containers and settings stay
#
#   --prefix DIR    below which it goes (/usr/local; an ordinary user's: ~/.local)
#   --destdir DIR   a root directory in which all of it lies, for packages (also $DESTDIR)
#   --mirror URL    ask this registry before Docker Hub: written into dhow's daemon.json
#   --enable        have systemd start containers at boot: systemctl enable --now dhow
#   --bin DIR       where the programs are (target/dhow)
#   --pages DIR     where man pages, completions and units are (target/pages)
set -eu
umask 022
unset CDPATH
here=$(cd "$(dirname "$0")" && pwd)
programs="dhow dhow-image dhow-runtime"

die() {
    echo "install.sh: $*" >&2
    exit 1
}

# ---- what was typed ----
uid=$(id -u)
destdir=${DESTDIR:-} prefix= mirror= enable= uninstall= bin= pages=
while [ $# -gt 0 ]; do
    option=$1 value=
    case $option in
    --prefix | --destdir | --mirror | --bin | --pages)
        [ $# -ge 2 ] && [ -n "$2" ] || die "$option wants a value"
        value=$2
        shift
        ;;
    --prefix=* | --destdir=* | --mirror=* | --bin=* | --pages=*)
        value=${option#*=} option=${option%%=*}
        [ -n "$value" ] || die "$option wants a value"
        ;;
    esac
    case $option in
    --prefix) prefix=$value ;;
    --destdir) destdir=$value ;;
    --mirror) mirror=$value ;;
    --bin) bin=$value ;;
    --pages) pages=$value ;;
    --enable) enable=yes ;;
    --uninstall) uninstall=yes ;;
    -h | --help)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) die "unknown option $1; see $0 --help" ;;
    esac
    shift
done
# An ordinary user installs for themselves, unless it is for a package.
own=
[ "$uid" = 0 ] || [ -n "$destdir" ] || own=yes
if [ -z "$prefix" ]; then
    prefix=/usr/local
    [ -z "$own" ] || prefix=${HOME:?no HOME: name a directory with --prefix}/.local
fi
# It stands in units and in a list of files: no blanks, no quotes, nothing that means something.
path() {
    case $2 in /*) ;; *) die "$1 $2: it has to begin with /" ;; esac
    case $2 in *[!A-Za-z0-9/._+@~-]*) die "$1 $2: letters, digits and /._+@~- only" ;; esac
    case $2/ in */../* | */./*) die "$1 $2: without . and .." ;; esac
}
path --prefix "$prefix"
prefix=${prefix%/}
[ -z "$destdir" ] || path --destdir "$destdir"
destdir=${destdir%/}
if [ -n "$mirror" ]; then
    case $mirror in http://?* | https://?*) ;; *) die "--mirror $mirror: a URL begins with https:// or http://" ;; esac
    case $mirror in *[!A-Za-z0-9:/._~%-]*) die "--mirror $mirror: letters, digits and :/._~%- only" ;; esac
    [ -z "$uninstall" ] || die "--mirror and --uninstall don't go together"
fi
[ -z "$enable" ] || [ -z "$destdir$uninstall" ] || die "--enable is for this machine, not for --destdir or --uninstall"

share=$prefix/share
list=$share/dhow/installed
# systemd reads units of /usr, /usr/local, /etc, and a user's own.
case $prefix in
/usr | /usr/local) system=$prefix/lib/systemd/system user=$prefix/lib/systemd/user ;;
*) system=/etc/systemd/system user=/etc/systemd/user ;;
esac
settings=/etc/dhow/daemon.json others=/etc/docker/daemon.json defaults=/etc/default/docker
if [ -n "$own" ]; then
    config=${XDG_CONFIG_HOME:-${HOME:?no HOME: your settings are in it}/.config}
    system= user=$config/systemd/user
    settings=$config/dhow/daemon.json
    others="$config/docker/daemon.json /etc/dhow/daemon.json /etc/docker/daemon.json"
    path XDG_CONFIG_HOME "$config"
fi
# Debian's zsh looks elsewhere for what packages bring.
zsh=$share/zsh/site-functions
[ "$prefix" != /usr ] || zsh=$share/zsh/vendor-completions

reload() {
    [ -z "$destdir" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null || return 0
    if [ -n "$own" ]; then manager daemon-reload 2>/dev/null || :; else manager daemon-reload; fi
}

# A user's or the machine's.
manager() {
    if [ -n "$own" ]; then systemctl --user "$@"; else systemctl "$@"; fi
}

# Not of a package, or of another prefix: that one's containers go on.
disable() {
    [ -z "$destdir" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null || return 0
    loaded=$(manager show --property FragmentPath dhow.service 2>/dev/null) || return 0
    loaded=${loaded#FragmentPath=} ours=${system:-$user}/dhow.service
    [ -n "$loaded" ] && [ "$(readlink -f "$loaded")" = "$(readlink -f "$ours")" ] || return 0
    manager disable --now dhow.service >/dev/null 2>&1 || :
}

# Removes the files that a list names, if they are where we put files, and our own empty directories.
forget() {
    while IFS= read -r file; do
        case $file in /*) ;; *) continue ;; esac
        case $file/ in */../* | *[!A-Za-z0-9/._+@~-]*) continue ;; esac
        case ${file##*/} in dhow | dhow[.-]* | _dhow*) echo "$destdir$file" ;; esac
    done <"$1" | xargs rm -f
}

if [ -n "$uninstall" ]; then
    [ -e "$destdir$list" ] || die "nothing is installed in $destdir$prefix ($list is missing)"
    disable
    forget "$destdir$list"
    rm -f "$destdir$list"
    rmdir "$destdir$share/dhow" 2>/dev/null || :
    # A user's systemd that doesn't run just now.
    wanted=$user/default.target.wants/dhow.service
    [ -z "$own" ] || [ -e "$wanted" ] || rm -f "$wanted"
    reload
    echo "removed from $destdir$prefix; images, containers and settings are where they were"
    exit 0
fi

# ---- all is looked at before anything is written ----
bin=${bin:-$here/target/dhow}
pages=${pages:-$here/target/pages}
for program in $programs; do
    [ -x "$bin/$program" ] || die "$bin/$program is not there; run make, or name the directory with --bin"
done
for page in man1/dhow.1 systemd/system/dhow.service bash-completion/completions/dhow; do
    [ -e "$pages/$page" ] || die "$pages/$page is not there; run make pages, or name the directory with --pages"
done
written="{\"registry-mirrors\": [\"$mirror\"]}"
if [ -n "$mirror" ]; then
    if [ -e "$destdir$settings" ]; then
        # One line of ours may be changed; a file of somebody's is theirs.
        text=$(cat "$destdir$settings")
        known=
        case $text in *'"registry-mirrors"'*) known=${text#*'"registry-mirrors"'} ;; esac
        known=${known%%]*}
        url=${text#'{"registry-mirrors": ["'}
        url=${url%'"]}'}
        case $url in *[!A-Za-z0-9:/._~%-]*)
            case $known in *"\"$mirror\""*) mirror= ;; esac
            [ -z "$mirror" ] || die "$destdir$settings has settings of yours: add \"registry-mirrors\": [\"$mirror\"] there, and leave --mirror away"
            ;;
        esac
    else
        # What is read where ours is not there would be read no more.
        for file in $others; do
            [ ! -e "$destdir$file" ] ||
                die "$destdir$file is what dhow reads: add \"registry-mirrors\": [\"$mirror\"] there, or to a copy of it at $destdir$settings, and leave --mirror away"
        done
        if grep -q '^[[:space:]]*\(export[[:space:]]*\)\{0,1\}DOCKER_OPTS=' "$destdir$defaults" 2>/dev/null; then
            die "$destdir$defaults is what dhow reads: add --registry-mirror=$mirror to its DOCKER_OPTS, and leave --mirror away"
        fi
    fi
fi
mkdir -p "$destdir$share/dhow" 2>/dev/null && [ -w "$destdir$share/dhow" ] ||
    die "$destdir$share/dhow can't be written to; be root, or name another --prefix"

new=$destdir$list.new half=$new some=$destdir$share/dhow/.some
# On a full disk, too, nothing half-written stays.
trap 'rm -f "$new" "$half" "$some" "$destdir$share/dhow/.unit" "$destdir$share/dhow/.gone"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
: >"$new"
# In one step each: a program that runs, or is being read, is not in the way.
put() {
    mode=$1 from=$2 to=$3
    half=$destdir$to.new
    echo "$to" >>"$new" || die "$new can't be written"
    mkdir -p "$destdir${to%/*}" || die "$destdir${to%/*} can't be made"
    cp "$from" "$half" && chmod "$mode" "$half" && mv -f "$half" "$destdir$to" || die "$destdir$to can't be written"
}
# Many at once, which nobody runs: DIR FILE…
put_all() {
    dir=$1
    shift
    for file; do
        echo "$dir/${file##*/}"
    done >"$some" && cat "$some" >>"$new" || die "$new can't be written"
    mkdir -p "$destdir$dir" || die "$destdir$dir can't be made"
    remove_some
    cp "$@" "$destdir$dir" && (cd "$destdir$dir" && sed 's|.*/||' | xargs chmod 644) <"$some" || {
        remove_some
        die "$destdir$dir can't be written to"
    }
}
remove_some() { (cd "$destdir$dir" && sed 's|.*/||' | xargs rm -f) <"$some"; }
# The program's place stands in the unit.
unit() {
    sed "s|^\(Exec[A-Za-z]*=-\{0,1\}\)/usr/bin/dhow |\1$prefix/bin/dhow |" "$1" >"$destdir$share/dhow/.unit"
    put 644 "$destdir$share/dhow/.unit" "$2"
    rm -f "$destdir$share/dhow/.unit"
}

for program in $programs; do put 755 "$bin/$program" "$prefix/bin/$program"; done
put_all "$share/man/man1" "$pages"/man1/*.1
put_all "$share/man/man8" "$pages"/man8/*.8
put_all "$share/bash-completion/completions" "$pages"/bash-completion/completions/dhow*
put_all "$zsh" "$pages"/zsh/site-functions/_dhow*
put_all "$share/fish/vendor_completions.d" "$pages"/fish/vendor_completions.d/dhow*
[ -z "$system" ] || unit "$pages/systemd/system/dhow.service" "$system/dhow.service"
unit "$pages/systemd/user/dhow.service" "$user/dhow.service"
if [ -n "$mirror" ]; then
    half=$destdir$settings.new
    mkdir -p "$destdir${settings%/*}" && echo "$written" >"$half" && mv -f "$half" "$destdir$settings" ||
        die "$destdir$settings can't be written"
fi

# What an older version had and this one hasn't.
if [ -e "$destdir$list" ]; then
    grep -vxFf "$new" "$destdir$list" >"$destdir$share/dhow/.gone" || :
    forget "$destdir$share/dhow/.gone"
    rm -f "$destdir$share/dhow/.gone"
fi
rm -f "$some"
mv -f "$new" "$destdir$list"
reload
if [ -n "$enable" ]; then
    [ -d /run/systemd/system ] || die "--enable: this machine doesn't run systemd; the rest is installed"
    manager enable --now dhow
fi
echo "installed in $destdir$prefix: $programs"
case :$PATH: in *:"$prefix/bin":*) ;; *) [ -n "$destdir" ] || echo "$prefix/bin is not in PATH" ;; esac
