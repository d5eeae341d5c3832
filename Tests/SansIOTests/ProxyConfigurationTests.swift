// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@Suite("ProxyConfiguration: which connections go through a proxy")
struct ProxyConfigurationTests {
  @Test(
    "a proxy's address has scheme, user, host and port, and most of it may be left out",
    arguments: [
      ("http://proxy.test:3128", "proxy.test", 3128, nil),
      ("HTTP://proxy.test:3128/", "proxy.test", 3128, nil),
      ("proxy.test:8080", "proxy.test", 8080, nil),
      ("http://proxy.test", "proxy.test", 80, nil),
      ("http://[2001:db8::1]:3128", "2001:db8::1", 3128, nil),
      ("http://Aladdin:open%20sesame@proxy.test:1", "proxy.test", 1, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
      ("http://a%40b:c@d@proxy.test:1", "proxy.test", 1, "Basic YUBiOmNAZA=="),
      ("http://user@proxy.test", "proxy.test", 80, "Basic dXNlcjo="),
    ] as [(String, String, UInt16, String?)])
  func address(text: String, host: String, port: UInt16, authorization: String?) throws {
    let proxy = try ProxyServer(parsing: text)
    #expect(proxy.host == host)
    #expect(proxy.port == port)
    #expect(proxy.authorization?.unredacted == authorization)
  }

  @Test(
    "an address that cannot be used is an error and not a way around the proxy",
    arguments: [
      "socks5://proxy.test:1080", "https://proxy.test:3128", "http://", "http://:80", "http://proxy.test:0",
      "http://proxy.test:65536", "http://proxy.test:+1", "http://[::1:80", "http://%4@proxy.test",
    ])
  func unusable(text: String) {
    #expect(throws: ParseError.self) { try ProxyConfiguration(environment: ["https_proxy": text]) }
  }

  @Test("the special variable wins over the general one, small letters over capital ones, empty means none")
  func precedence() throws {
    func host(_ environment: [String: String]) throws -> String? {
      try ProxyConfiguration(environment: environment).server(forHost: "a.test", port: 443)?.host
    }
    #expect(try host([:]) == nil)
    #expect(try host(["HTTPS_PROXY": "b", "https_proxy": "a", "all_proxy": "c"]) == "a")
    #expect(try host(["HTTPS_PROXY": "b", "https_proxy": "", "all_proxy": "c"]) == "b")
    #expect(try host(["all_proxy": "c", "ALL_PROXY": "d"]) == "c")
    #expect(try host(["ALL_PROXY": "d", "NO_PROXY": "A.test"]) == nil)
    #expect(try host(["https_proxy": "a", "all_proxy": "socks5://c"]) == "a")
    #expect(try host(["http_proxy": "e"]) == nil)
  }

  @Test(
    "no_proxy: names with what is below them, addresses, ranges, ports",
    arguments: [
      ("*", "any.test", 443, true), ("", "any.test", 443, false), ("a,*", "any.test", 443, true),
      ("example.test", "example.test", 443, true), ("example.test", "EXAMPLE.TEST.", 443, true),
      ("example.test", "www.example.test", 443, true), ("example.test", "notexample.test", 443, false),
      ("example.test", "example.test.evil", 443, false), (".example.test", "example.test", 443, true),
      ("*.example.test", "a.b.example.test", 443, true), ("a.test, example.test", "example.test", 443, true),
      ("a.test example.test", "example.test", 443, true), ("example.test:5349", "example.test", 5349, true),
      ("example.test:5349", "example.test", 443, false), ("example.test:x", "example.test", 443, false),
      ("192.0.2.1", "192.0.2.1", 1, true), ("192.0.2.1", "192.0.2.10", 1, false),
      ("192.0.2.1:5349", "192.0.2.1", 5349, true), ("192.0.2.1:5349", "192.0.2.1", 1, false),
      ("10.0.0.0/8", "10.255.0.1", 1, true), ("10.0.0.0/8", "11.0.0.1", 1, false),
      ("10.0.0.0/8", "10.example.test", 1, false), ("2001:db8::/32", "[2001:db8::5]", 1, true),
      ("::1", "[::1]", 1, true), ("[::1]:80", "::1", 80, true), ("[::1]:80", "::1", 81, false),
      ("10.0.0.0/99", "10.0.0.1", 1, false),
    ] as [(String, String, UInt16, Bool)])
  func exceptions(list: String, host: String, port: UInt16, isDirect: Bool) throws {
    let configuration = try ProxyConfiguration(environment: ["https_proxy": "p.test", "no_proxy": list])
    #expect((configuration.server(forHost: host, port: port) == nil) == isDirect)
  }

  @Test("no description shows the user and the password")
  func secrets() throws {
    let configuration = try ProxyConfiguration(environment: ["https_proxy": "http://canary:canary@p.test"])
    var dumped = "\(configuration) \(String(reflecting: configuration))"
    dump(configuration, to: &dumped)
    #expect(!dumped.contains("canary"))
    #expect(!dumped.contains(Base64.text(of: Array("canary:canary".utf8))))
  }
}
