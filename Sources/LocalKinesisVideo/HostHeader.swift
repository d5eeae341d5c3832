// SPDX-License-Identifier: Apache-2.0

import SansIO

/// The `Host` header of a request, checked: its text goes into the endpoints that the stand-in advertises.
struct HostHeader: Hashable, Sendable {
  /// Longest name or address with its port: a DNS name's 253 characters, a colon and five digits. Some clients keep
  /// endpoints in buffers of 128 characters, which their own host names fit in.
  static let charactersMax = 259

  /// As received: signatures cover these very characters.
  let authority: String
  /// The name or address without port and brackets, lower case.
  let name: String

  /// Reads a header; `nil` for anything but a DNS name or an address with an optional port.
  init?(parsing text: String) {
    guard !text.isEmpty, text.utf8.count <= Self.charactersMax else { return nil }
    var host = text[...]
    var port: Substring?
    if host.first == "[" {
      guard let end = host.firstIndex(of: "]") else { return nil }
      let rest = host[host.index(after: end)...]
      guard rest.isEmpty || rest.first == ":" else { return nil }
      port = rest.isEmpty ? nil : rest.dropFirst()
      host = host[host.index(after: host.startIndex)..<end]
      guard host.contains(":"), host.utf8.allSatisfy(Self.isAddressByte) else { return nil }
    } else {
      if let colon = host.firstIndex(of: ":") {
        port = host[host.index(after: colon)...]
        host = host[..<colon]
      }
      guard !host.isEmpty, host.utf8.allSatisfy(ServiceNames.isNameByte) else { return nil }
    }
    if let port {
      guard port.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
        UInt16(port) ?? 0 > 0
      else { return nil }
    }
    authority = text
    name = host.lowercased()
  }

  private static func isAddressByte(_ byte: UInt8) -> Bool {
    "0123456789abcdefABCDEF:.".utf8.contains(byte)
  }

  /// Whether the name is one that only the local network resolves, or an address: a page of a foreign name that was
  /// made to resolve to this machine (DNS rebinding) comes with another.
  var isLocal: Bool {
    if name.contains(":") || !name.contains(".") { return true }
    if name.utf8.allSatisfy({ !ServiceNames.isLetterOrDigit($0) || $0 <= UInt8(ascii: "9") }) { return true }
    return [".localhost", ".local", ".lan", ".home", ".internal", ".home.arpa"].contains {
      name.hasSuffix($0)
    }
  }
}
