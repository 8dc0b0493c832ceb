# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_evenly_global_optspecs
    string join \n h/help V/version
end

function __fish_evenly_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_evenly_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_evenly_using_subcommand
    set -l cmd (__fish_evenly_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c evenly -n "__fish_evenly_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c evenly -n "__fish_evenly_needs_command" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "run" -d 'Start the proxy, from a configuration file or from what is said here'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "check" -d 'Read a configuration file and report every fault in it'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "config" -d 'Print the configuration with every default, secrets masked'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "schema" -d 'Print the JSON schema of the file, for editors'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "status" -d 'Tell how a running proxy and its members are; exit code 1 unless requests are welcome'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "reload" -d 'Let a running proxy read its file again'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "drain" -d 'Send a member of a running proxy no new requests'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "purge" -d 'Let a running proxy forget stored responses'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "completions" -d 'Print completions for a shell'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "man" -d 'Print the manual page'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "hash-password" -d 'Read a password and print a hash of it (argon2id) for the configuration file'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "demo" -d 'Three small backends and the proxy with its cache before them, ready for curl'
complete -c evenly -n "__fish_evenly_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c evenly -n "__fish_evenly_using_subcommand run" -s c -l config -d 'The file [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]' -r -F
complete -c evenly -n "__fish_evenly_using_subcommand run" -l listen -d 'Where clients connect: ":8080", "127.0.0.1:8080", "unix:/path"' -r
complete -c evenly -n "__fish_evenly_using_subcommand run" -l to -d 'A member, with its weight if it is not 1; repeat for more' -r
complete -c evenly -n "__fish_evenly_using_subcommand run" -l balance -d 'Who takes a request: p2c, round_robin, least_load, ring, …' -r
complete -c evenly -n "__fish_evenly_using_subcommand run" -l admin -d 'Open the dashboard, metrics and admin API here' -r
complete -c evenly -n "__fish_evenly_using_subcommand run" -l access-log -d 'A line for each request to standard output: json, combined or a pattern' -r
complete -c evenly -n "__fish_evenly_using_subcommand run" -l cache -d 'Keep responses in memory, as RFC 9111 allows'
complete -c evenly -n "__fish_evenly_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c evenly -n "__fish_evenly_using_subcommand run" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand check" -s c -l config -d 'The file [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]' -r -F
complete -c evenly -n "__fish_evenly_using_subcommand check" -l format -d 'How faults are told' -r -f -a "text\t'For people: place, line, caret, help'
json\t'For programs'"
complete -c evenly -n "__fish_evenly_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c evenly -n "__fish_evenly_using_subcommand check" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand config" -s c -l config -d 'The file [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]' -r -F
complete -c evenly -n "__fish_evenly_using_subcommand config" -l template -d 'A commented file with every key instead'
complete -c evenly -n "__fish_evenly_using_subcommand config" -s h -l help -d 'Print help'
complete -c evenly -n "__fish_evenly_using_subcommand config" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand schema" -s h -l help -d 'Print help'
complete -c evenly -n "__fish_evenly_using_subcommand schema" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand status" -s c -l config -d 'Its file, for [admin] [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]' -r -F
complete -c evenly -n "__fish_evenly_using_subcommand status" -l admin -d 'Its admin listener, instead of a file' -r
complete -c evenly -n "__fish_evenly_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c evenly -n "__fish_evenly_using_subcommand status" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand reload" -s c -l config -d 'Its file, for [admin] [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]' -r -F
complete -c evenly -n "__fish_evenly_using_subcommand reload" -l admin -d 'Its admin listener, instead of a file' -r
complete -c evenly -n "__fish_evenly_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c evenly -n "__fish_evenly_using_subcommand reload" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand drain" -s c -l config -d 'Its file, for [admin] [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]' -r -F
complete -c evenly -n "__fish_evenly_using_subcommand drain" -l admin -d 'Its admin listener, instead of a file' -r
complete -c evenly -n "__fish_evenly_using_subcommand drain" -l undo -d 'Send it requests again'
complete -c evenly -n "__fish_evenly_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c evenly -n "__fish_evenly_using_subcommand drain" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand purge" -s c -l config -d 'Its file, for [admin] [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]' -r -F
complete -c evenly -n "__fish_evenly_using_subcommand purge" -l admin -d 'Its admin listener, instead of a file' -r
complete -c evenly -n "__fish_evenly_using_subcommand purge" -l url -d 'One target, with all its variants' -r
complete -c evenly -n "__fish_evenly_using_subcommand purge" -l prefix -d 'Every target that begins so' -r
complete -c evenly -n "__fish_evenly_using_subcommand purge" -l tag -d 'Every response with this Surrogate-Key or Cache-Tag' -r
complete -c evenly -n "__fish_evenly_using_subcommand purge" -l all -d 'Everything'
complete -c evenly -n "__fish_evenly_using_subcommand purge" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c evenly -n "__fish_evenly_using_subcommand purge" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand completions" -s h -l help -d 'Print help'
complete -c evenly -n "__fish_evenly_using_subcommand completions" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand man" -s h -l help -d 'Print help'
complete -c evenly -n "__fish_evenly_using_subcommand man" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand hash-password" -s h -l help -d 'Print help'
complete -c evenly -n "__fish_evenly_using_subcommand hash-password" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand demo" -l port -d 'Where the proxy listens on 127.0.0.1; the next free port if this one is taken' -r
complete -c evenly -n "__fish_evenly_using_subcommand demo" -l requests -d 'Send so many requests, print what went where, and end' -r
complete -c evenly -n "__fish_evenly_using_subcommand demo" -s h -l help -d 'Print help'
complete -c evenly -n "__fish_evenly_using_subcommand demo" -s V -l version -d 'Print version'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "run" -d 'Start the proxy, from a configuration file or from what is said here'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "check" -d 'Read a configuration file and report every fault in it'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "config" -d 'Print the configuration with every default, secrets masked'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "schema" -d 'Print the JSON schema of the file, for editors'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "status" -d 'Tell how a running proxy and its members are; exit code 1 unless requests are welcome'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "reload" -d 'Let a running proxy read its file again'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "drain" -d 'Send a member of a running proxy no new requests'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "purge" -d 'Let a running proxy forget stored responses'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "completions" -d 'Print completions for a shell'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "man" -d 'Print the manual page'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "hash-password" -d 'Read a password and print a hash of it (argon2id) for the configuration file'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "demo" -d 'Three small backends and the proxy with its cache before them, ready for curl'
complete -c evenly -n "__fish_evenly_using_subcommand help; and not __fish_seen_subcommand_from run check config schema status reload drain purge completions man hash-password demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
