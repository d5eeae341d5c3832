// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("Candidates and credentials, RFC 8839 §5")
struct ICECandidateTests {
  @Test("Lines of browsers are read")
  func browsers() throws {
    let chromium = try ICECandidate(
      parsing: "candidate:842163049 1 udp 1677729535 203.0.113.5 50000 typ srflx raddr 192.0.2.7 rport 40000 "
        + "generation 0 ufrag abcd network-id 1 network-cost 999")
    #expect(chromium.foundation == "842163049" && chromium.component == 1 && chromium.transport == .udp)
    #expect(chromium.kind == .serverReflexive && chromium.priority == 1_677_729_535)
    #expect(chromium.address == (try address("203.0.113.5", 50000)))
    #expect(chromium.relatedAddress == (try address("192.0.2.7", 40000)))
    #expect(chromium.usernameFragment == "abcd")
    let firefox = try ICECandidate(
      parsing: "a=candidate:0 2 UDP 2122252542 3a1d8d5c-6a3f-4d4e-8a43-7e1a2a4f0d11.local 56000 typ host")
    #expect(firefox.component == 2 && firefox.address == nil)
    #expect(firefox.host == .name("3a1d8d5c-6a3f-4d4e-8a43-7e1a2a4f0d11.local"))
    let tcp = try ICECandidate(
      parsing: "candidate:1 1 TCP 2105458943 2001:db8::1 9 typ host tcptype active")
    #expect(tcp.transport == .tcpActive)
  }

  @Test("What was written is read back", arguments: ["192.0.2.1", "2001:db8::1"])
  func roundTrip(ip: String) throws {
    var candidate = ICECandidate(
      foundation: "1", priority: ICECandidate.priority(kind: .host, localPreference: 0xffff, component: 1),
      host: .ip(try #require(IPAddress(ip))), port: 5000, kind: .host)
    #expect(candidate.attributeValue == "candidate:1 1 udp 2130706431 \(ip) 5000 typ host")
    candidate.kind = .relayed
    candidate.relatedAddress = try address("192.0.2.9", 7)
    candidate.transport = .tcpPassive
    candidate.usernameFragment = "abcd"
    #expect(try ICECandidate(parsing: candidate.attributeValue) == candidate)
  }

  @Test(
    "Malformed lines are refused",
    arguments: [
      "", "candidate:", "candidate:1 1 udp 1 192.0.2.1 5000 typ",
      "candidate:1 1 udp 1 192.0.2.1 5000 tip host",
      "candidate:1 0 udp 1 192.0.2.1 5000 typ host", "candidate:1 257 udp 1 192.0.2.1 5000 typ host",
      "candidate:1 1 sctp 1 192.0.2.1 5000 typ host", "candidate:1 1 tcp 1 192.0.2.1 5000 typ host",
      "candidate:1 1 udp 4294967296 192.0.2.1 5000 typ host", "candidate:1 1 udp -1 192.0.2.1 5000 typ host",
      "candidate:1 1 udp 1 192.0.2.1 65536 typ host", "candidate:1 1 udp 1 192.0.2.1 5000 typ magic",
      "candidate:1 1 udp 1 a/b 5000 typ host", "candidate:1 1 udp 1 1.2.3 5000 typ host",
      "candidate:123456789012345678901234567890123 1 udp 1 192.0.2.1 5000 typ host",
      "candidate:1 1 udp 1 192.0.2.1 5000 typ host " + String(repeating: "x", count: 1024),
      "candidate:1 1 udp 1 " + String(repeating: "x", count: 256) + " 5000 typ host",
    ])
  func refused(line: String) {
    #expect(throws: ParseError.self) { try ICECandidate(parsing: line) }
  }

  @Test("Prefixes and random characters never trap")
  func random() {
    let line = Array(
      "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ srflx raddr 0.0.0.0 rport 0 ufrag x y".utf8)
    for count in 0...line.count {
      _ = try? ICECandidate(parsing: String(decoding: line[..<count], as: UTF8.self))
    }
    var random = RandomSource(seed: 1)
    for _ in 0..<3000 {
      var mutated = line
      for _ in 0..<3 {
        let index = Int.random(in: 0..<line.count, using: &random)
        mutated[index] = .random(in: 0...255, using: &random)
      }
      _ = try? ICECandidate(parsing: String(decoding: mutated, as: UTF8.self))
    }
  }

  @Test("T41: credentials are long, made of ice-chars, unique and evenly spread")
  func credentials() {
    var random = RandomSource.system
    var fragments: Set<String> = []
    var counts: [UInt8: Int] = [:]
    for _ in 0..<5000 {
      let credentials = ICECredentials.generate(using: &random)
      #expect(credentials.usernameFragment.utf8.count == 8)
      #expect(credentials.password.unredacted.utf8.count == 24)
      fragments.insert(credentials.usernameFragment)
      for byte in credentials.password.unredacted.utf8 { counts[byte, default: 0] += 1 }
    }
    #expect(fragments.count == 5000)
    #expect(counts.count == 64)
    // 120,000 characters, 1,875 of each on average, standard deviation 43.
    #expect(counts.values.allSatisfy { (1500...2250).contains($0) })
    #expect(!"\(ICECredentials.generate(using: &random))".contains("unredacted"))
  }
}
