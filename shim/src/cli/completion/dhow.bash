# dhow in bash: eval "$(dhow completion bash)", or this text in /etc/bash_completion.d/dhow
_dhow() {
    local line=${COMP_LINE:0:COMP_POINT} words word breaks
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]}-1]}
    local IFS=$'\n'
    COMPREPLY=($("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null | cut -f1))
    # bash completes only what follows the last colon or equals sign.
    breaks=${word%"${word##*[:=]}"}
    COMPREPLY=("${COMPREPLY[@]#"$breaks"}")
}
complete -o default -F _dhow dhow
