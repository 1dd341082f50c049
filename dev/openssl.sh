#!/usr/bin/env bash
# Prints the environment in which a Rust program finds OpenSSL to link with; nothing where it is found anyway.
#
#   dev/openssl.sh <folder>
#
# worker-build links with OpenSSL to download what we give it otherwise. A machine may lack the headers and may
# not be ours to install to: then Debian's package is unpacked into <folder>, with package lists of its own.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
exec 3>&1 1>&2 # stdout is for the environment alone

if [ "$(uname)" != Linux ] || [ -n "${OPENSSL_DIR:-}" ] || pkg-config --exists openssl 2>/dev/null; then
  exit 0
fi

if [ ! -e "$folder/lib" ]; then
  if ! command -v apt-get >/dev/null; then
    echo 'worker-build needs the OpenSSL headers: install libssl-dev or openssl-devel, and pkg-config'
    exit 1
  fi
  mkdir -p "$folder"/lists/partial "$folder"/cache/archives/partial
  cd "$folder"
  apt=(apt-get -qq -o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder/cache" -o APT::Sandbox::User="$(id -un)")
  "${apt[@]}" update
  "${apt[@]}" download libssl-dev
  dpkg-deb -x libssl-dev_*.deb root
  # One folder of headers: Debian keeps those of the architecture apart.
  cp root/usr/include/*-linux-gnu*/openssl/*.h root/usr/include/openssl/
  rm -rf lists cache libssl-dev_*.deb
  ln -s root/usr/lib/*-linux-gnu* lib
fi

cat >&3 <<E2
export OPENSSL_STATIC=1
export OPENSSL_LIB_DIR='$folder/lib'
export OPENSSL_INCLUDE_DIR='$folder/root/usr/include'
E2
