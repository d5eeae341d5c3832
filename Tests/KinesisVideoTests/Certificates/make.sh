#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the certificates of the TLS tests anew: one authority that the tests trust, and servers with a fault each.
# Their one key protects nothing.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# issue NAME SUBJECT-ALTERNATIVE-NAME START END, by the authority
issue() {
  openssl req -new -key server.key -subj "/CN=$1" -out "$work/$1.csr"
  : > "$work/index.txt"
  printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s/index.txt\nnew_certs_dir=%s\nrand_serial=yes\ndefault_md=sha256\n' \
    "$work" "$work" > "$work/ca.cnf"
  printf 'policy=p\nunique_subject=no\nx509_extensions=e\n[p]\ncommonName=supplied\n' >> "$work/ca.cnf"
  printf '[e]\nsubjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$2" >> "$work/ca.cnf"
  openssl ca -batch -config "$work/ca.cnf" -cert authority.pem -keyfile "$work/authority.key" \
    -in "$work/$1.csr" -startdate "$3" -enddate "$4" -notext -out "$1.pem" 2> /dev/null
}

key server.key
key "$work/authority.key"
key "$work/other.key"
for authority in authority other; do
  openssl req -x509 -new -key "$work/$authority.key" -subj "/CN=test $authority" -days 36500 \
    -addext basicConstraints=critical,CA:TRUE -out "$authority.pem"
done
issue good "DNS:localhost,IP:127.0.0.1" 20240101000000Z 21231231235959Z
issue wrong-host "DNS:elsewhere.test,IP:192.0.2.1" 20240101000000Z 21231231235959Z
issue expired "DNS:localhost,IP:127.0.0.1" 20200101000000Z 20210101000000Z
issue future "DNS:localhost,IP:127.0.0.1" 21200101000000Z 21231231235959Z
openssl req -x509 -new -key server.key -subj "/CN=self-signed" -days 36500 \
  -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" -out self-signed.pem
mv authority.pem "$work/trusted.pem"
mv other.pem authority.pem && mv "$work/other.key" "$work/authority.key"
issue unknown-authority "DNS:localhost,IP:127.0.0.1" 20240101000000Z 21231231235959Z
mv "$work/trusted.pem" authority.pem
