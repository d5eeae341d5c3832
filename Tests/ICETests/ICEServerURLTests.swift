// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("URLs of STUN and TURN servers, RFC 7064, RFC 7065")
struct ICEServerURLTests {
  @Test(
    "A URL says service, protection, host, port and transport; what it leaves out has the RFC's default",
    arguments: [
      ("stun:example.com", "stun:example.com:3478", TURNTransport.udp),
      ("STUN:Example.COM:443", "stun:example.com:443", .udp),
      ("stuns:example.com", "stuns:example.com:5349", .tls),
      ("turn:example.com", "turn:example.com:3478?transport=udp", .udp),
      ("turn:example.com:?transport=udp", "turn:example.com:3478?transport=udp", .udp),
      ("Turn:192.0.2.1:80?Transport=TCP", "turn:192.0.2.1:80?transport=tcp", .tcp),
      ("turns:example.com", "turns:example.com:5349?transport=tcp", .tls),
      ("turns:example.com:443?transport=udp", "turns:example.com:443?transport=udp", .dtls),
      ("turns:[2001:DB8::1]?transport=tcp", "turns:[2001:db8::1]:5349?transport=tcp", .tls),
      ("turn:[2001:db8:0:0::1]:65535", "turn:[2001:db8::1]:65535?transport=udp", .udp),
      (
        "turn:203-0-113-10_2001-db8--1.t-0a1b.kinesisvideo.us-west-2.api.aws:443?transport=udp",
        "turn:203-0-113-10_2001-db8--1.t-0a1b.kinesisvideo.us-west-2.api.aws:443?transport=udp", .udp
      ),
      ("stun:localhost.", "stun:localhost.:3478", .udp),
    ])
  func reads(text: String, whole: String, transport: TURNTransport) throws {
    let url = try ICEServerURL(parsing: text)
    #expect(url.description == whole)
    #expect(url.transport == transport)
    #expect(try ICEServerURL(parsing: url.description) == url)
  }

  @Test("An address is known as one, a name is none")
  func addresses() throws {
    #expect(try ICEServerURL(parsing: "turn:[::1]").address == IPAddress("::1"))
    #expect(try ICEServerURL(parsing: "turn:192.0.2.1").address == IPAddress("192.0.2.1"))
    #expect(try ICEServerURL(parsing: "turn:192.0.2.1.example").address == nil)
  }

  @Test(
    "What is no such URL is refused with the part that is wrong",
    arguments: [
      ("", "URL scheme"), ("example.com", "URL scheme"), ("http:example.com", "URL scheme"),
      (" turn:example.com", "URL scheme"), ("turn://example.com", "URL slashes"),
      ("turn:", "URL host"), ("turn:?transport=udp", "URL host"), ("turn::3478", "URL host"),
      ("turn:user@example.com", "URL host"), ("turn:example.com/path", "URL host"),
      ("turn:example.com#x", "URL host"), ("turn:a..b", "URL host"), ("turn:.", "URL host"),
      ("turn:exa mple.com", "URL host"), ("turn:exämple.com", "URL host"), ("turn:300.1.1.1", "URL host"),
      ("turn:192.0.2", "URL host"), ("turn:[192.0.2.1]", "URL host"), ("turn:[fe80::1%2]", "URL host"),
      ("turn:[]", "URL host"), ("turn:2001:db8::1", "URL brackets of IPv6"),
      ("turn:[2001:db8::1", "URL brackets of IPv6"), ("turn:[2001:db8::1]x", "URL port"),
      ("turn:example.com:0", "URL port"), ("turn:example.com:65536", "URL port"),
      ("turn:example.com:+80", "URL port"), ("turn:example.com:80a", "URL port"),
      ("turn:example.com?", "URL parameter"), ("turn:example.com?transport", "URL parameter"),
      ("turn:example.com?ttl=3", "URL parameter"), ("turn:example.com?transport=sctp", "URL transport"),
      ("turn:example.com?transport=udp&x=y", "URL transport"),
      ("stun:example.com?transport=udp", "URL parameter"),
      ("turn:" + String(repeating: "a", count: 256), "URL host"),
      ("turn:" + String(repeating: "a", count: 600), "URL length"),
    ])
  func refuses(text: String, part: String) {
    do throws(ParseError) {
      let url = try ICEServerURL(parsing: text)
      Issue.record("\(text) was read as \(url)")
    } catch {
      guard case .invalid(let cause) = error else {
        Issue.record("\(text): \(error)")
        return
      }
      #expect(cause.description == part)
    }
  }

  @Test("No prefix of a URL and no single character in its place make the reader trap")
  func survivesDamage() {
    let text = "turns:[2001:db8::1]:5349?transport=udp"
    for end in text.indices { _ = try? ICEServerURL(parsing: String(text[..<end])) }
    for index in text.indices {
      for damage in ["[", "]", ":", "?", "=", "%", "\0", "é"] {
        _ = try? ICEServerURL(parsing: text.replacingCharacters(at: index, with: damage))
      }
    }
  }
}

extension String {
  fileprivate func replacingCharacters(at index: Index, with text: String) -> String {
    self[..<index] + text + self[self.index(after: index)...]
  }
}
