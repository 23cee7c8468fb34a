# dhow in fish: dhow completion fish | source, or this text in ~/.config/fish/completions/dhow.fish
function __dhow_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] __complete -- $words[2..-1] 2>/dev/null
end
complete -c dhow -a '(__dhow_complete)'
