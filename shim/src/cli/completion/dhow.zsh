#compdef dhow
# dhow in zsh: source <(dhow completion zsh), or this text in a folder of $fpath as _dhow
_dhow() {
    local line
    local -a found
    for line in "${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -z $line ]] && continue
        local name=${line%%$'\t'*}
        name=${name//:/\\:}
        if [[ $line == *$'\t'* ]]; then
            found+=("$name:${line#*$'\t'}")
        else
            found+=("$name")
        fi
    done
    if (( $#found )); then
        _describe -V 'dhow' found
    else
        _files
    fi
}
if [ "$funcstack[1]" = "_dhow" ]; then
    _dhow
else
    compdef _dhow dhow
fi
