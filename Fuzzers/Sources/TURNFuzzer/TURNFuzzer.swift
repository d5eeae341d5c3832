// SPDX-License-Identifier: Apache-2.0

import FuzzInput
import ICE
import SansIO

/// A TURN client and a TURN server that talk to each other, while the fuzzer decides what happens next: a message
/// arrives, is lost, repeated or spoilt, time passes, either side is asked for something, a stranger speaks.
///
/// That way the bytes reach the states behind authentication, which no fuzzer finds by guessing.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var input = FuzzInput(start, count)
  var world = TURNWorld(isStream: input.byte() & 1 == 1)
  var steps = 0
  while !input.isAtEnd, steps < 400 {
    world.step(&input)
    steps += 1
  }
  return 0
}

private struct TURNWorld: ~Copyable {
  let isStream: Bool
  let clientRoute: Route
  let serverRoute: Route
  var client: TURNClient
  var server: TURNServerCore
  var now = Instant.zero
  var toServer: [[UInt8]] = []
  var toClient: [[UInt8]] = []
  var relays: [RelayID] = []
  var nextPort: UInt16 = 50_000

  init(isStream: Bool) {
    self.isStream = isStream
    let secret = Secret(Array("secret".utf8))
    clientRoute = Route(
      receivedOn: LocalSocket(id: 1, address: fuzzAddress(10)), from: fuzzAddress(1, port: 3478))
    serverRoute = Route(
      receivedOn: LocalSocket(id: 2, address: fuzzAddress(1, port: 3478)), from: fuzzAddress(10))
    let credentials = TURNCredentials(identity: "user", expiry: 4000, secret: secret)
    client = TURNClient(
      configuration: .init(
        route: clientRoute, isStream: isStream, username: credentials.username,
        password: credentials.password), random: RandomSource(seed: 1))
    server = TURNServerCore(
      configuration: .init(realm: "kvs", secret: secret, unixTimeAtOrigin: .seconds(1000)),
      random: RandomSource(seed: 2))
    client.start(at: now)
  }

  mutating func step(_ input: inout FuzzInput) {
    switch input.choice(of: 10) {
    case 0, 1, 2: deliver(&input, spoilt: false)
    case 3: deliver(&input, spoilt: true)
    case 4: now += .milliseconds(Int64(input.short()))
    case 5: client.bindChannel(to: fuzzAddress(20 + input.byte() % 8), at: now)
    case 6: sendToPeer(&input)
    case 7: sendFromPeer(&input)
    case 8: intrude(&input)
    default: if input.byte() == 0 { client.release(at: now) }
    }
    client.handleTimeout(at: now)
    server.handleTimeout(at: now)
    collect()
  }

  /// Takes a message off the wire, or leaves it there to arrive once more.
  private mutating func deliver(_ input: inout FuzzInput, spoilt: Bool) {
    let fate = input.byte()
    let isToServer = fate & 1 == 0
    guard let message = isToServer ? toServer.first : toClient.first else { return }
    if fate & 2 == 0 { isToServer ? _ = toServer.removeFirst() : (_ = toClient.removeFirst()) }
    guard fate & 4 == 0 else { return }
    let bytes = spoilt ? input.spoil(message) : message
    if isToServer { receiveAtServer(bytes) } else { receiveAtClient(bytes) }
  }

  private mutating func receiveAtServer(_ bytes: [UInt8]) {
    if let forward = server.receive(bytes.rawSpan, on: serverRoute, isStream: isStream, at: now) {
      precondition(forward.peer.port != 0, "nothing is relayed to port 0")
      precondition(forward.payload.byteCount <= bytes.count, "more than was sent")
    }
  }

  private mutating func receiveAtClient(_ bytes: [UInt8]) {
    if let payload = client.receive(bytes.rawSpan, on: clientRoute, at: now) {
      precondition(payload.bytes.byteCount <= bytes.count, "more than was sent")
    }
  }

  private mutating func sendToPeer(_ input: inout FuzzInput) {
    let payload = input.block()
    let peer = fuzzAddress(20 + input.byte() % 8)
    var isSent = false
    let frame = [UInt8](writing: payload.count + TURNLimits.overheadByteCountMax) { output in
      isSent = client.wrap(payload.rawSpan, to: peer, into: &output) != nil
    }
    if isSent { queue(frame, isToServer: true) }
  }

  private mutating func sendFromPeer(_ input: inout FuzzInput) {
    guard let relay = relays.first else { return }
    let payload = input.block()
    let peer = fuzzAddress(20 + input.byte() % 8)
    var isSent = false
    let frame = [UInt8](writing: payload.count + TURNLimits.overheadByteCountMax) { output in
      isSent = server.relay(payload.rawSpan, from: peer, on: relay, into: &output, at: now) != nil
    }
    if isSent { queue(frame, isToServer: false) }
  }

  /// A stranger's bytes, at either side.
  private mutating func intrude(_ input: inout FuzzInput) {
    let isAtServer = input.byte() & 1 == 0
    let bytes = input.block()
    if isAtServer {
      let stranger = Route(receivedOn: serverRoute.socket, from: fuzzAddress(30 + input.byte() % 4))
      let count = server.allocationCount
      if let forward = server.receive(bytes.rawSpan, on: stranger, isStream: isStream, at: now) {
        preconditionFailure("a stranger's bytes were relayed to \(forward.peer)")
      }
      precondition(server.allocationCount <= count, "a stranger has an allocation")
    } else {
      receiveAtClient(bytes)
    }
  }

  private mutating func collect() {
    var isDone = false
    while !isDone {
      let bytes = [UInt8](writing: TURNLimits.messageByteCountMax) { output in
        isDone = client.pollTransmit(into: &output, at: now) == nil
      }
      if !isDone { queue(bytes, isToServer: true) }
    }
    while let action = server.pollAction() {
      switch action {
      case .openRelay(let relay, _):
        server.relayOpened(relay, address: fuzzAddress(1, port: nextPort), at: now)
        nextPort &+= 1
        relays.append(relay)
      case .closeRelay(let relay): relays.removeAll { $0 == relay }
      }
    }
    isDone = false
    while !isDone {
      var route: Route?
      let bytes = [UInt8](writing: TURNLimits.messageByteCountMax) { output in
        route = server.pollTransmit(into: &output, at: now)?.route
      }
      isDone = route == nil
      if route == serverRoute { queue(bytes, isToServer: false) }
    }
    while client.pollEvent() != nil {}
  }

  private mutating func queue(_ bytes: [UInt8], isToServer: Bool) {
    if isToServer, toServer.count < 16 { toServer.append(bytes) }
    if !isToServer, toClient.count < 16 { toClient.append(bytes) }
  }
}
