#!/usr/bin/env bash
# Fills an environment with exactly the releases of the given lock files, every file checked by its hash, and with this
# package: install.sh FOLDER LOCK... By uv (from the path, else put into the environment first), since it takes a fifth of
# pip's processor time; by pip where uv can't be had or breaks. PYTHON names the interpreter of a new environment.
set -eu
folder=$1 python=$1/bin/python interpreter=${PYTHON:-python3}
shift
locked=()
for lock in "$@"; do locked+=(-r "$lock"); done
quiet=--quiet
if [ -t 2 ]; then quiet=; fi # on a terminal uv shows how far it is
say() { echo "setup: $*"; }

if ! [ -x "$python" ]; then
  "$interpreter" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { say "$interpreter is no Python 3.11 or newer; name one: make setup PYTHON=python3.13" >&2; exit 1; }
  say "new environment $folder of $("$interpreter" --version)"
  "$interpreter" -m venv "$folder"
fi
pip() { "$python" -m pip --quiet --disable-pip-version-check "$@"; }

have_pip() { "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >/dev/null; }

find_uv() {
  uv=$(command -v uv) && return
  say "no uv on the path: putting it into $folder"
  have_pip && pip install --require-hashes -r <(sed -n '/^uv==/,/[^\\]$/p' "$@") && uv=$folder/bin/uv
}

with_uv() {
  local version
  version=$("$uv" --version) && say "installing $* by $version" &&
    "$uv" pip install $quiet --python "$python" --compile-bytecode --require-hashes "${locked[@]}" &&
    "$uv" pip install --quiet --python "$python" --no-deps --no-build-isolation --editable .
}

with_pip() {
  have_pip
  pip install --require-hashes "${locked[@]}"
  pip install --no-deps --no-build-isolation --editable .
}

if ! find_uv "$@"; then
  say "uv can't be had: installing $* by pip, which takes minutes"
  with_pip
elif ! with_uv "$@"; then
  say "uv broke: installing $* by pip, which takes minutes"
  with_pip
fi
say "$folder is ready after $SECONDS s"
