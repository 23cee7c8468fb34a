# What scripts in a guest tell, and wait for. Read before them.

# Prints what a command says, in one line with a word before.
say() { echo "$1: $(shift; "$@" 2>&1 | tr '\n' ' ')"; }

# Waits for something; a guest is slow.
until_so() {
    for _ in $(seq 300); do
        ! eval "$1" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    echo "waited in vain: $1"
}
