# Reads the output of `cargo test` and prints "SERVER COUNT" for each server, then "N passed, N failed, N skipped".
# A test counts for a server if the path of its file below tests/, or its own name, contains the server's word.
#   -v servers="kafka postgres"   the words      -v status=1   cargo failed

BEGIN { count_of_servers = split(servers, server, " ") }

/^ +Running / { file = ($2 == "unittests") ? "" : $2 }
/^ +Doc-tests / { file = "" }

/^test .* \.\.\. (ok|FAILED)/ {
    path = tolower(file " " $2)
    for (i = 1; i <= count_of_servers; i++)
        if (index(path, server[i])) tests[server[i]]++
}

/^test result: / { passed += $4; failed += $6; skipped += $8 }

END {
    if (status && !failed) failed = 1
    for (i = 1; i <= count_of_servers; i++) print server[i], tests[server[i]] + 0
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
}
