# What .ci/run and .ci/check-release share.

case "${OSTYPE:-}" in
  msys* | cygwin*) bin=Scripts python=python ;;
  *) bin=bin python=python3 ;;
esac

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

# Tests of what differs between Pythons most, in a minute.
fast="tests/endpoints tests/http tests/jobs tests/journal tests/models tests/polling tests/submission tests/test_*.py"

# Prints the Pythons of the package's classifiers.
versions() { sed -n 's/.*"Programming Language :: Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml; }

# Prints an interpreter of a version such as 3.12: from the path, or of pyenv.
interpreter() {
  local candidate
  for candidate in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python; do
    if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}
