#!/usr/bin/env bash
# The suite, on two workers. What fails is run once more, alone: that run decides, and what passed only then is named
# loudly, because a test that needs luck is a fault of its own.
# usage: scripts/test.sh [pytest's arguments]
set -uo pipefail
cd "$(dirname "$0")/.."

unset PYTHONDONTWRITEBYTECODE
cache=.pytest_cache
pytest=(.venv/bin/python -m pytest -o addopts="-q --strict-markers" -o cache_dir=$cache)
rm -rf "$cache"

"${pytest[@]}" -n "${STREAMSD_TEST_WORKERS:-2}" --dist loadgroup "$@"
code=$?
[ $code = 1 ] || exit $code # 0: all passed; others: the suite could not be run

failed=$(.venv/bin/python -c "
import json, pathlib
print('\n'.join(sorted(json.loads(pathlib.Path('$cache/v/cache/lastfailed').read_text()))))")
[ -n "$failed" ] || exit $code

printf '\nOnce more, alone, what failed:\n%s\n\n' "$failed"
"${pytest[@]}" -n0 --last-failed --last-failed-no-failures none "$@"
again=$?
still=$(.venv/bin/python -c "
import json, pathlib
path = pathlib.Path('$cache/v/cache/lastfailed')
print('\n'.join(json.loads(path.read_text()) if path.exists() else []))")
flaky=$(comm -23 <(sort <<<"$failed") <(sort <<<"$still"))
if [ -n "$flaky" ]; then
    printf '\n!!! FLAKY: failed at first, passed alone. Each is to be mended:\n'
    sed 's/^/!!! FLAKY  /' <<<"$flaky"
fi
[ $again = 5 ] && again=1 # nothing was found to run again
exit $again
