// SPDX-License-Identifier: Apache-2.0

import FuzzInput
import ICE
import SansIO

/// Two ICE agents, while the fuzzer decides what the network, the peer's description and strangers do.
///
/// Two things must hold whatever happens: the checklist stays within its limit, and nobody is sent data without an
/// authenticated answer.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var input = FuzzInput(start, count)
  var world = AgentWorld()
  var steps = 0
  while !input.isAtEnd, steps < 400 {
    world.step(&input)
    steps += 1
  }
  return 0
}

private struct AgentWorld: ~Copyable {
  var left: ICEAgent
  var right: ICEAgent
  let leftSocket = LocalSocket(id: 1, address: fuzzAddress(1))
  let rightSocket = LocalSocket(id: 1, address: fuzzAddress(2))
  var now = Instant.zero
  var toLeft: [[UInt8]] = []
  var toRight: [[UInt8]] = []

  init() {
    left = ICEAgent(role: .controlling, random: RandomSource(seed: 1))
    right = ICEAgent(role: .controlled, random: RandomSource(seed: 2))
    let leftCandidate = left.addLocalCandidate(socket: leftSocket, at: now)
    let rightCandidate = right.addLocalCandidate(socket: rightSocket, at: now)
    left.setRemoteCredentials(right.localCredentials, at: now)
    right.setRemoteCredentials(left.localCredentials, at: now)
    if let rightCandidate { left.addRemoteCandidate(rightCandidate, at: now) }
    if let leftCandidate { right.addRemoteCandidate(leftCandidate, at: now) }
  }

  mutating func step(_ input: inout FuzzInput) {
    switch input.choice(of: 12) {
    case 0, 1, 2: deliver(&input, spoilt: false)
    case 3: deliver(&input, spoilt: true)
    case 4: now += .milliseconds(Int64(input.short()))
    case 5: addCandidate(&input)
    case 6: intrude(&input)
    case 7: if input.byte() == 0 { left.removeLocalSocket(id: 1, at: now) }
    case 8: addPath(&input)
    case 9: restart(&input)
    case 10: resolve(&input)
    default: if input.byte() < 4 { left.setRole(input.byte() & 1 == 0 ? .controlling : .controlled) }
    }
    left.handleTimeout(at: now)
    right.handleTimeout(at: now)
    collect()
  }

  private mutating func deliver(_ input: inout FuzzInput, spoilt: Bool) {
    let fate = input.byte()
    let isToLeft = fate & 1 == 0
    guard let message = isToLeft ? toLeft.first : toRight.first else { return }
    if fate & 2 == 0 { isToLeft ? _ = toLeft.removeFirst() : (_ = toRight.removeFirst()) }
    guard fate & 4 == 0 else { return }
    let bytes = spoilt ? input.spoil(message) : message
    receive(bytes, from: isToLeft ? rightSocket.address : leftSocket.address, isAtLeft: isToLeft)
  }

  private mutating func receive(_ bytes: [UInt8], from source: TransportAddress, isAtLeft: Bool) {
    if isAtLeft {
      left.receive(bytes.rawSpan, on: Route(receivedOn: leftSocket, from: source), at: now)
    } else {
      right.receive(bytes.rawSpan, on: Route(receivedOn: rightSocket, from: source), at: now)
    }
  }

  private mutating func addCandidate(_ input: inout FuzzInput) {
    let line = "candidate:" + String(decoding: input.take(Int(input.byte())), as: UTF8.self)
    guard let candidate = try? ICECandidate(parsing: line) else { return }
    left.addRemoteCandidate(candidate, at: now)
  }

  /// A relay or a reflexive address of the left side, which the right side hears of.
  private mutating func addPath(_ input: inout FuzzInput) {
    let address = fuzzAddress(200 + input.byte() % 8, port: 5000)
    let candidate: ICECandidate?
    if input.byte() & 1 == 0 {
      let relay = LocalSocket(id: 0x8000_0000 + UInt32(input.byte() % 4), address: address)
      candidate = left.addRelayedCandidate(socket: relay, mapped: nil, over: .udp, at: now)
    } else {
      candidate = left.addServerReflexiveCandidate(address, base: leftSocket, at: now)
    }
    if let candidate { right.addRemoteCandidate(candidate, at: now) }
  }

  /// A restart by both sides, or one that is begun and taken back.
  private mutating func restart(_ input: inout FuzzInput) {
    let credentials = left.prepareRestart()
    guard input.byte() & 1 == 0 else { return left.cancelRestart() }
    let answer = right.prepareRestart()
    left.restart(remote: answer, at: now)
    right.restart(remote: credentials, at: now)
  }

  private mutating func resolve(_ input: inout FuzzInput) {
    let name = String(decoding: input.take(8), as: UTF8.self) + ".local"
    let candidate = ICECandidate(
      foundation: "n", priority: 1000, host: .name(name), port: input.short(), kind: .host)
    left.addRemoteCandidate(candidate, at: now)
    let ip = fuzzAddress(2 + input.byte() % 4).ip
    left.resolved(name: name, to: input.byte() & 1 == 0 ? [ip] : [], at: now)
  }

  /// A stranger's bytes; they never make its address a path for data.
  private mutating func intrude(_ input: inout FuzzInput) {
    let stranger = fuzzAddress(100 + input.byte() % 100, port: input.short())
    let bytes = input.block()
    receive(bytes, from: stranger, isAtLeft: true)
    precondition(left.sendRoute?.remote != stranger, "data goes to a stranger")
  }

  private mutating func collect() {
    Self.collect(from: &left, into: &toRight, to: rightSocket.address, at: now)
    Self.collect(from: &right, into: &toLeft, to: leftSocket.address, at: now)
    while left.pollEvent() != nil {}
    while right.pollEvent() != nil {}
  }

  private static func collect(
    from agent: inout ICEAgent, into wire: inout [[UInt8]], to peer: TransportAddress, at now: Instant
  ) {
    var isDone = false
    while !isDone {
      var route: Route?
      let bytes = [UInt8](writing: STUNMessage.byteCountMax) { output in
        route = agent.pollTransmit(into: &output, at: now)?.route
      }
      isDone = route == nil
      if route?.remote == peer, wire.count < 16 { wire.append(bytes) }
    }
  }
}
