// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import KVSApplications

/// Sessions are their numbers, candidates are numbers too.
private typealias Slots = ViewerSlots<Int, Int>

extension ViewerSlots where Session == Int, Candidate == Int {
  /// Offers and occupies; `nil` when refused.
  fileprivate mutating func enter(_ clientID: String, as session: Int) -> (replaced: Int?, early: [Int])? {
    guard case .admit(let replaced, let early) = offer(from: clientID) else { return nil }
    occupy(clientID, with: session)
    return (replaced, early)
  }

  fileprivate mutating func isRefusalNews(_ clientID: String) -> Bool? {
    if case .refuse(let isNews) = offer(from: clientID) { isNews } else { nil }
  }

  fileprivate mutating func receiver(of candidate: Int, from clientID: String) -> String {
    switch self.candidate(candidate, from: clientID) {
    case .deliver(let session): "session \(session)"
    case .held: "held"
    case .dropped: "dropped"
    }
  }
}

@Suite("T36 Viewers get a place each, by the id that the service vouches for")
struct ViewerSlotsTests {
  @Test("As many viewers as the limit are admitted, the next one is refused")
  func limit() {
    var slots = Slots(limit: 3)
    for session in 0..<3 {
      let admitted = slots.enter("viewer-\(session)", as: session)
      #expect(admitted?.replaced == nil && admitted?.early == [])
    }
    let fourth = slots.enter("viewer-3", as: 3)
    #expect(fourth == nil)
    #expect(slots.count == 3)
  }

  @Test("A full house is news once, and again after a place has become free")
  func refusalIsToldOnce() {
    var slots = Slots(limit: 1)
    _ = slots.enter("a", as: 1)
    let first = (0..<3).map { slots.isRefusalNews("stranger-\($0)") }
    #expect(first == [true, false, false])
    slots.release { $0 == 1 }
    #expect(slots.count == 0)
    _ = slots.enter("b", as: 2)
    let second = (0..<2).map { slots.isRefusalNews("stranger-\($0)") }
    #expect(second == [true, false])
  }

  @Test("A viewer that offers again takes its own place, also in a full house")
  func replacement() {
    var slots = Slots(limit: 1)
    _ = slots.enter("a", as: 1)
    let again = slots.enter("a", as: 2)
    #expect(again?.replaced == 1)
    #expect(slots.count == 1)
    // The old session ends later than the new one began, and takes nothing with it.
    slots.release { $0 == 1 }
    #expect(slots.count == 1)
    let receiver = slots.receiver(of: 7, from: "a")
    #expect(receiver == "session 2")
  }

  @Test("Whoever frees a place for a newcomer gets the sessions that lose theirs")
  func releasedSessions() {
    var slots = Slots(limit: 2)
    _ = slots.enter("a", as: 1)
    let isFullWithOne = slots.isFull
    _ = slots.enter("b", as: 2)
    let (isFullWithTwo, second) = (slots.isFull, slots.session(of: "b"))
    let released = slots.release { $0 == 2 }
    #expect(!isFullWithOne && isFullWithTwo)
    #expect(second == 2)
    #expect(released == [2])
    #expect(slots.session(of: "b") == nil)
  }

  @Test("Releasing by a rule frees every place that it names")
  func releaseMany() {
    var slots = Slots(limit: 4)
    for session in 0..<4 { _ = slots.enter("viewer-\(session)", as: session) }
    slots.release { $0.isMultiple(of: 2) }
    #expect(slots.count == 2)
    let refused = slots.enter("late-1", as: 8) == nil || slots.enter("late-2", as: 9) == nil
    #expect(!refused)
  }

  @Test("Candidates before the offer are kept in order and given out once, to their own viewer")
  func earlyCandidates() {
    var slots = Slots(limit: 2)
    let receivers = (1...3).map { slots.receiver(of: $0, from: "a") } + [slots.receiver(of: 9, from: "b")]
    #expect(receivers == Array(repeating: "held", count: 4))
    let first = slots.enter("a", as: 1)
    #expect(first?.early == [1, 2, 3])
    let again = slots.enter("a", as: 2)
    #expect(again?.early == [])
    let other = slots.enter("b", as: 3)
    #expect(other?.early == [9])
  }

  @Test("One client's early candidates are bounded, the first ones count")
  func earlyCandidatesOfOneClient() {
    var slots = Slots(limit: 1)
    for number in 0..<200 { _ = slots.candidate(number, from: "a") }
    let last = slots.receiver(of: 200, from: "a")
    #expect(last == "dropped")
    let admitted = slots.enter("a", as: 1)
    #expect(admitted?.early == Array(0..<Slots.earlyCandidatesMax))
  }

  @Test("Clients with early candidates are bounded, the oldest is forgotten")
  func earlyClients() {
    var slots = Slots(limit: 1000)
    let count = Slots.earlyClientsMax
    for client in 0...count { _ = slots.candidate(client, from: "viewer-\(client)") }
    let forgotten = slots.enter("viewer-0", as: 0)
    #expect(forgotten?.early == [])
    for client in 1...count {
      let kept = slots.enter("viewer-\(client)", as: client)
      #expect(kept?.early == [client])
    }
  }

  @Test("A refused viewer's early candidates are not kept for its next try")
  func refusalForgets() {
    var slots = Slots(limit: 1)
    _ = slots.enter("a", as: 1)
    _ = slots.candidate(5, from: "b")
    _ = slots.offer(from: "b")
    slots.release { $0 == 1 }
    let admitted = slots.enter("b", as: 2)
    #expect(admitted?.early == [])
  }
}
