#!/usr/bin/env bash
# Prints the path of a Node.js 24 binary, installing it from the npm registry where this machine has none. The package
# `node` picks the package of the platform in an install script; where scripts are not run, that package is named directly.
set -euo pipefail
cache="${XDG_CACHE_HOME:-$HOME/.cache}/tidemark-node24"
binary() { find "$cache/node_modules" -path '*/bin/node' -type f -perm -u+x 2>/dev/null | head -1 || true; }
case "$(node --version)" in v24.*) command -v node; exit 0 ;; esac
found=$(binary)
if [ -z "$found" ]; then
  mkdir -p "$cache"
  platform=$(node -p 'process.platform === "win32" ? "win" : process.platform')
  npm install --no-save --no-audit --no-fund --prefix "$cache" "node-$platform-$(node -p process.arch)@24" >&2 ||
    npm install --no-save --no-audit --no-fund --prefix "$cache" node@24 >&2
  found=$(binary)
fi
[ -n "$found" ] && "$found" --version >&2
printf '%s\n' "$found"
