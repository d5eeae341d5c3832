// SPDX-License-Identifier: Apache-2.0

/// How a client speaks to its TURN server (RFC 8656 §2.1). What the server relays to peers is UDP always.
public enum TURNTransport: String, CaseIterable, Hashable, Sendable {
  /// Datagrams as they are.
  case udp
  /// Datagrams under DTLS (RFC 7350).
  case dtls
  /// A stream.
  case tcp
  /// A stream under TLS: what firewalls let through that know nothing but the web.
  case tls
}
