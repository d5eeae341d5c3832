// SPDX-License-Identifier: Apache-2.0

import SansIO
import WebRTCCore
import WebRTCTesting

/// Two applications that negotiate whenever their connections ask for it, by W3C's "perfect negotiation" (WebRTC §10.7):
/// each offers as soon as it is told to, offers cross, and who is polite is the connections' own affair.
final class Negotiator {
  let run: Simulation
  /// Exchanges that came to an end.
  private(set) var completedCount = 0
  /// Offers that were ignored because they crossed another.
  private(set) var collisionCount = 0
  /// What was refused for other reasons.
  private(set) var errors: [PeerConnectionError] = []
  /// What signaling does to a description on its way.
  var alter: (SessionDescriptionInit) -> SessionDescriptionInit = { $0 }

  private var seenEventCounts = [0, 0]
  private var lastArrivals = (offerer: Instant.zero, answerer: Instant.zero)

  /// Takes the applications' part from here on.
  init(_ run: Simulation) {
    self.run = run
    seenEventCounts = [run.offerer, run.answerer].map(\.events.count)
  }

  /// Runs until `condition` holds, and negotiates as either connection needs it.
  @discardableResult
  func run(atMost limit: TimeDelta, until condition: (Simulation) -> Bool = { _ in false }) -> Bool {
    run.run(atMost: limit) { run in
      act()
      return condition(run)
    }
  }

  private func act() {
    for (index, peer) in [run.offerer, run.answerer].enumerated() {
      let news = peer.events.dropFirst(seenEventCounts[index])
      seenEventCounts[index] = peer.events.count
      let isNeeded = news.contains { if case .negotiationNeeded = $0 { true } else { false } }
      // In an exchange it is asked for again at the end.
      if isNeeded, peer.core.signalingState == .stable { offer(from: peer) }
    }
  }

  /// Makes an offer and sends it off.
  func offer(from peer: SimulatedPeer, iceRestart: Bool = false) {
    attempt {
      let offer = try peer.core.createOffer(iceRestart: iceRestart, at: run.now)
      try peer.core.setLocalDescription(offer, at: run.now)
      send(offer, to: other(than: peer))
    }
  }

  /// The other side.
  func other(than peer: SimulatedPeer) -> SimulatedPeer { peer === run.offerer ? run.answerer : run.offerer }

  private func send(_ description: SessionDescriptionInit, to peer: SimulatedPeer) {
    let description = alter(description)
    // Signaling keeps the order of what one side sends.
    let isToViewer = peer === run.offerer
    let arrival = max(run.now + run.signalingDelay, isToViewer ? lastArrivals.offerer : lastArrivals.answerer)
    if isToViewer { lastArrivals.offerer = arrival } else { lastArrivals.answerer = arrival }
    run.schedule(after: arrival - run.now) { [self] run in
      attempt {
        try peer.core.setRemoteDescription(description, at: run.now)
        guard description.type == .offer else {
          completedCount += 1
          return
        }
        let answer = try peer.core.createAnswer(at: run.now)
        try peer.core.setLocalDescription(answer, at: run.now)
        send(answer, to: other(than: peer))
      }
    }
  }

  private func attempt(_ body: () throws -> Void) {
    do { try body() } catch PeerConnectionError.offerCollision { collisionCount += 1 } catch {
      if let error = error as? PeerConnectionError { errors.append(error) }
    }
  }
}

extension SessionDescriptionInit {
  /// The same with every line passed through `replace`, `nil` for gone.
  func replacingLines(_ replace: (String) -> String?) -> SessionDescriptionInit {
    let lines = sdp.split(separator: "\r\n").compactMap { replace(String($0)) }
    return SessionDescriptionInit(type: type, sdp: lines.joined(separator: "\r\n") + "\r\n")
  }

  /// The values of an attribute, in order.
  func values(of attribute: String) -> [String] {
    let prefix = "a=\(attribute):"
    return sdp.split(separator: "\r\n").filter { $0.hasPrefix(prefix) }.map {
      String($0.dropFirst(prefix.count))
    }
  }
}

extension SimulatedPeer {
  /// Our ICE user fragment in the session that stands.
  var usernameFragment: String { core.localUsernameFragment }

  /// How often the application was asked to negotiate.
  var negotiationNeededCount: Int {
    events.count { if case .negotiationNeeded = $0 { true } else { false } }
  }

  /// The connection's states in their order.
  var connectionStates: [PeerConnectionState] {
    events.compactMap { if case .connectionStateChanged(let state) = $0 { state } else { nil } }
  }
}
