# Completion of nbdkit-ts for bash: options, filters, plugins, and the keys of those that were named.
# Source it, or copy it to ~/.local/share/bash-completion/completions/nbdkit-ts.

# made by scripts/options.mjs: begin
_nbdkit_ts_options='--busy-poll -D --debug --dump-config --dump-plugin --exit-with-parent -e --exportname --export-name --export --filter -f --foreground --no-fork -h --help -i --ipaddr --ip-addr -4 --ipv4-only -6 --ipv6-only --keepalive --keep-alive --log --long-options --mask-handshake --name -n --newstyle --new-style --no-mc --no-meta-contexts --no-sr --no-structured-replies -o --oldstyle --old-style -P --pidfile --pid-file -p --port --print-uri --print-url --show-uri --show-url -r --readonly --read-only --run --short-options --shutdown-timeout -s --single --stdin -t --threads --timeout --time-out -U --unix -v --verbose -V --version --workers'
_nbdkit_ts_arguments='--busy-poll -D --debug -e --exportname --export-name --export --filter -i --ipaddr --ip-addr --log --mask-handshake --name -P --pidfile --pid-file -p --port --run --shutdown-timeout -t --threads --timeout --time-out -U --unix --workers'
_nbdkit_ts_files='--log -P --pidfile --pid-file -U --unix'
_nbdkit_ts_log='default stderr syslog null'
# made by scripts/options.mjs: end

# _nbdkit_ts_modules plugindir|filterdir: the folders of a directory that --dump-config names.
_nbdkit_ts_modules() {
    local directory
    directory="$(nbdkit-ts --dump-config 2>/dev/null | sed -n "s/^$1=//p")"
    [[ -d $directory ]] && (cd "$directory" && printf '%s\n' */) | sed 's,/$,,'
}

# _nbdkit_ts_keys PLUGIN FILTER...: the keys that --help lists for them.
_nbdkit_ts_keys() {
    local plugin="$1"
    shift
    nbdkit-ts --help "${@/#/--filter=}" "$plugin" 2>/dev/null |
        sed -n -E '/^(plugin|filter): /,$ s/^  ([a-z][^ =]*(, [^ =]+)*)=.*/\1/p' |
        sed 's/, /\n/g' | sed 's/$/=/'
}

# _nbdkit_ts_has WORD LIST: whether a list of words has this one.
_nbdkit_ts_has() {
    [[ " $2 " == *" $1 "* ]]
}

_nbdkit_ts() {
    local current="${COMP_WORDS[COMP_CWORD]}" option='' plugin='' i word
    local -a filters=()
    COMPREPLY=()

    # Bash takes --name=value apart in three words.
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${COMP_WORDS[i]}"
        if [[ $word == = ]]; then
            continue
        elif [[ -n $option ]]; then
            [[ $option == --filter ]] && filters+=("$word")
            option=''
        elif _nbdkit_ts_has "$word" "$_nbdkit_ts_arguments"; then
            option="$word"
        elif [[ $word != -* && -z $plugin ]]; then
            plugin="$word"
        fi
    done
    local after_equals=''
    if [[ $current == = ]]; then
        current=''
        after_equals=1
    elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then
        after_equals=1
    fi

    if [[ -n $option ]]; then
        if [[ $option == --filter ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$(_nbdkit_ts_modules filterdir)" -- "$current")
        elif [[ $option == --log ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$_nbdkit_ts_log" -- "$current"; compgen -f -- "$current")
        elif _nbdkit_ts_has "$option" "$_nbdkit_ts_files"; then
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
        fi
    elif [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$_nbdkit_ts_options" -- "$current")
    elif [[ -z $plugin ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_nbdkit_ts_modules plugindir)" -- "$current"; compgen -f -- "$current")
    elif [[ -n $after_equals ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        mapfile -t COMPREPLY < <(
            compgen -W "$(_nbdkit_ts_keys "$plugin" "${filters[@]}")" -- "$current"
            compgen -f -- "$current"
        )
        [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    fi
}

complete -o filenames -F _nbdkit_ts nbdkit-ts
