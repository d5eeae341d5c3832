// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("Remote candidates with mDNS names")
struct ICENameTests {
  private func candidate(_ name: String, port: UInt16 = 5002) -> ICECandidate {
    ICECandidate(
      foundation: "1", priority: 2_122_260_223, host: .name(name), port: port, kind: .host)
  }

  @Test("A name is asked for once; its address makes an ordinary candidate that connects")
  func resolves() throws {
    var pair = AgentPair()
    try pair.addSockets()
    pair.exchangeCredentials()
    let name = "4b1b6a0e-8f0a-4c6c-a8fb-1f1d8f8f2d3a.local"
    // The peer's own checks are lost until ours have opened its firewall, so that only the name leads to it.
    let (inside, outside) = (pair.right.sockets[0].address, pair.left.sockets[0].address)
    pair.passes = { from, to, bytes in
      !(from == inside && to == outside && kind(of: bytes)?.isRequest == true)
    }
    pair.left.agent.addRemoteCandidate(candidate(name.uppercased()), at: .zero)
    pair.left.agent.addRemoteCandidate(candidate(name), at: .zero)
    pair.giveCandidatesToRight()
    pair.run(for: .seconds(1))
    #expect(pair.left.requestsToDriver == [.nameNeedsResolving(name)])
    #expect(pair.left.requests.isEmpty)
    pair.left.agent.resolved(name: name, to: [inside.ip], at: pair.now)
    pair.run(for: .seconds(1))
    let route = pair.left.agent.selectedRoute
    #expect(route?.remote == inside)
    let remotes = pair.left.agent.statistics.remoteCandidates
    #expect(remotes.count == 1)
  }

  @Test("Candidates of a resolved name need no second question; answers nobody asked for change nothing")
  func laterCandidates() throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "192.0.2.1", 5001)
    let ip = try address("192.0.2.2", 1).ip
    host.agent.resolved(name: "abc.local", to: [ip], at: .zero)
    host.agent.addRemoteCandidate(candidate("abc.local", port: 6000), at: .zero)
    let early = host.agent.statistics.pairs.count
    #expect(early == 0)
    host.agent.resolved(name: "abc.local", to: [ip], at: .zero)
    host.agent.addRemoteCandidate(candidate("abc.local", port: 6001), at: .zero)
    host.agent.resolved(name: "abc.local", to: [try address("192.0.2.3", 1).ip], at: .zero)
    _ = host.drain(at: .zero)
    #expect(host.requestsToDriver == [.nameNeedsResolving("abc.local")])
    let remotes = host.agent.statistics.pairs.map(\.route.remote.description)
    #expect(Set(remotes) == ["192.0.2.2:6000", "192.0.2.2:6001"])
  }

  @Test("What could not be resolved is counted and not asked for again")
  func unresolved() throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "192.0.2.1", 5001)
    host.agent.addRemoteCandidate(candidate("abc.local"), at: .zero)
    host.agent.resolved(name: "abc.local", to: [], at: .zero)
    host.agent.addRemoteCandidate(candidate("abc.local"), at: .zero)
    _ = host.drain(at: .zero)
    let (count, pairs) = (host.agent.drops[.candidateName], host.agent.statistics.pairs.count)
    #expect(count == 2 && pairs == 0 && host.requestsToDriver.count == 1)
  }

  @Test(
    "T8: only one label and .local is asked for",
    arguments: [
      "example.com", "local", ".local", "a.b.local", "abc.local.", "abc.localx", "a b.local", "ä.local",
      String(repeating: "a", count: 64) + ".local", "a\u{0}.local",
    ])
  func otherNames(name: String) throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "192.0.2.1", 5001)
    host.agent.addRemoteCandidate(candidate(name), at: .zero)
    _ = host.drain(at: .zero)
    let count = host.agent.drops[.candidateName]
    #expect(count == 1 && host.requestsToDriver.isEmpty)
  }

  @Test("T8: at most 16 names are asked for, 8 candidates wait for one, 4 of its addresses count")
  func limits() throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "192.0.2.1", 5001)
    for index in 0..<1000 {
      host.agent.addRemoteCandidate(candidate("\(index).local"), at: .zero)
      _ = host.drain(at: .zero)
    }
    #expect(host.requestsToDriver.count == 16)
    for port in 1...100 as ClosedRange<UInt16> {
      host.agent.addRemoteCandidate(candidate("3.local", port: 6000 + port), at: .zero)
    }
    let addresses = (1...50).map { IPAddress(ipv4: 0xc000_0200 + $0) }
    host.agent.resolved(name: "3.local", to: addresses, at: .zero)
    let pairs = host.agent.statistics.pairs.count
    #expect(pairs == 8 * 4)
  }

  @Test(
    "T8, T45: an address that a name leads to passes the tests of any other",
    arguments: [("224.0.0.1", 5000), ("127.0.0.1", 5000), ("192.0.2.2", 22), ("255.255.255.255", 5000)]
      as [(String, UInt16)])
  func policy(ip: String, port: UInt16) throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "192.0.2.1", 5001)
    host.agent.addRemoteCandidate(candidate("abc.local", port: port), at: .zero)
    host.agent.resolved(name: "abc.local", to: [try #require(IPAddress(ip))], at: .zero)
    let pairs = host.agent.statistics.pairs.count
    #expect(pairs == 0)
  }
}
