// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// Paths that die under a running call: it moves to another one, or it ends within the time that consent lasts.
@Suite("Paths that die")
struct PathFaultTests {
  static let cone = NATBehaviour(mapping: .endpointIndependent, filtering: .addressAndPortDependent)
  static let symmetric = NATBehaviour(mapping: .addressAndPortDependent, filtering: .addressAndPortDependent)

  /// A call of a phone: the viewer in a Wi-Fi network and in its carrier's, the master at home.
  struct Phone {
    let call: Call
    let wifi: SiteID
    let carrier: SiteID

    init(seed: UInt64, interfaces: [Int] = [0, 1]) throws {
      var network = SimulatedNetwork(
        conditions: LinkConditions(delay: .milliseconds(10)), seed: Simulation.networkSeed(for: seed))
      let server = SimulatedTURNServer(addresses: [IPAddress(ipv4: 0xc000_0201)], in: &network, seed: seed)
      let link = LinkConditions(delay: .milliseconds(5))
      wifi = network.addSite(SimulatedSite(up: link, down: link, nat: cone))
      carrier = network.addSite(SimulatedSite(up: link, down: link, nat: symmetric))
      let home = network.addSite(SimulatedSite(up: link, down: link, nat: cone))
      let all = [
        network.attach(IPAddress(ipv4: 0xc0a8_0102), to: wifi),
        network.attach(IPAddress(ipv4: 0x0a00_0002), to: carrier),
      ]
      let master = network.addHost(IPAddress(ipv4: 0xc0a8_0103), in: home)
      let servers = [server.stunServer, server.iceServer()]
      let run = try Simulation(
        seed: seed, network: network, offerer: SimulatedHost(interfaces: interfaces.map { all[$0] }),
        answerer: master, offererServers: servers,
        answererServers: servers)
      run.add(server)
      call = Call(run)
    }

    /// Connects and lets everything come to rest.
    func connect() throws {
      let isConnected = try call.connect()
      try #require(isConnected)
      call.run.run(atMost: .seconds(5))
      call.run.negotiatesAgain = true
    }
  }

  @Test(
    "T6: of a peer that dies silently consent is lost within 30 s, and no media goes to it any more",
    arguments: Seeds.few)
  func peerDies(seed: UInt64) throws {
    let scenario = try Scenario(seed: seed, viewer: .init(nat: Self.cone), master: .init(nat: Self.cone))
    let outcome = try scenario.outcome()
    #expect(outcome == .connected, "seed \(seed)")
    let (run, call) = (scenario.run, scenario.call)
    call.sendSound(for: .seconds(60))
    run.run(atMost: .seconds(7))
    let diedAt = run.now
    run.network.update(scenario.sites[0]) { ($0.up, $0.down) = (.cut, .cut) }
    var lastMediaAt = diedAt
    run.network.tap = { [run] bytes, source, _ in
      if (bytes.first ?? 0) >= 128, source.ip == IPAddress(ipv4: 0xc0a8_0102) { lastMediaAt = run.now }
      return [bytes]
    }
    let isFailed = run.run(atMost: .seconds(31)) { _ in call.master.connectionState == .failed }
    #expect(isFailed, "seed \(seed)")
    #expect(call.master.core.iceFailureReason == .consentLost, "seed \(seed)")
    run.run(atMost: .seconds(20))
    #expect(lastMediaAt - diedAt <= .seconds(30), "seed \(seed)")
    run.network.tap = nil
  }

  @Test("When the path dies and another lives, media goes on within 3 s of detection", arguments: Seeds.few)
  func pathDies(seed: UInt64) throws {
    let phone = try Phone(seed: seed)
    try phone.connect()
    let result = phone.call.interruption { run in
      run.network.update(phone.wifi) { ($0.up, $0.down) = (.cut, .cut) }
    }
    let (detection, repair) = (try #require(result.detection), try #require(result.repair, "\(result)"))
    #expect(detection <= .seconds(10), "seed \(seed): \(result)")
    #expect(repair <= .seconds(3), "seed \(seed): \(result)")
  }

  @Test("A new address in the middle of a call costs 3 s of media at most", arguments: Seeds.few)
  func addressChanges(seed: UInt64) throws {
    let phone = try Phone(seed: seed, interfaces: [0])
    try phone.connect()
    let result = phone.call.interruption { run in
      let old = run.offerer.sockets[0]
      run.offerer.removeSocket(old, at: run.now)
      run.network.detach(SimulatedHost.Interface(ip: old.address.ip, site: phone.wifi))
      run.offerer.addSocket(at: .ip("10.0.0.2", 5000), in: phone.carrier, at: run.now)
    }
    let recovery = try #require(result.recovery, "seed \(seed): \(result)")
    #expect(recovery <= .seconds(3), "seed \(seed): \(result)")
  }

  @Test("An interface that comes later and goes again leaves the call as it is", arguments: Seeds.few)
  func interfaceComesAndGoes(seed: UInt64) throws {
    let phone = try Phone(seed: seed, interfaces: [0])
    try phone.connect()
    let result = phone.call.interruption(watching: .seconds(10)) { run in
      let socket = run.offerer.addSocket(at: .ip("10.0.0.2", 5000), in: phone.carrier, at: run.now)
      run.schedule(after: .seconds(5)) { $0.offerer.removeSocket(socket, at: $0.now) }
    }
    #expect(result.gap <= .milliseconds(200), "seed \(seed): \(result)")
  }

  @Test(
    "A NAT box that forgets bindings after 30 s does not forget those of a call at rest", arguments: Seeds.few
  )
  func bindingsAreKept(seed: UInt64) throws {
    var forgetful = Self.cone
    forgetful.bindingLifetime = .seconds(30)
    let scenario = try Scenario(
      seed: seed, viewer: .init(nat: forgetful), master: .init(nat: forgetful), servers: .stun)
    let outcome = try scenario.outcome()
    #expect(outcome == .connected, "seed \(seed)")
    let hasLeft = scenario.run.run(atMost: .seconds(300)) { !$0.isConnected }
    #expect(!hasLeft, "seed \(seed)")
    let carriesMedia = scenario.carriesMedia()
    #expect(carriesMedia, "seed \(seed)")
  }

  @Test("A NAT box that starts anew costs a call the time to notice and 3 s", arguments: Seeds.few)
  func boxReboots(seed: UInt64) throws {
    let scenario = try Scenario(seed: seed, viewer: .init(nat: Self.cone), master: .init(nat: Self.cone))
    let outcome = try scenario.outcome()
    #expect(outcome == .connected, "seed \(seed)")
    scenario.run.run(atMost: .seconds(5))
    scenario.run.negotiatesAgain = true
    let result = scenario.call.interruption { $0.network.reboot(scenario.sites[0]) }
    let repair = try #require(result.repair, "seed \(seed): \(result)")
    #expect(repair <= .seconds(3), "seed \(seed): \(result)")
    #expect(result.gap <= .seconds(13), "seed \(seed): \(result)")
  }
}
