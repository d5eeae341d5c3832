// SPDX-License-Identifier: Apache-2.0

import SansIO
import WebRTCCore

/// A connection as the application's side holds it: the way to its driver leads over its loop.
struct ConnectionHandle: Sendable {
  let loop: NetworkLoop
  let driver: LoopConfined<PeerDriver>

  init(_ driver: PeerDriver, on loop: NetworkLoop) {
    self.loop = loop
    self.driver = LoopConfined(driver, to: loop.eventLoop)
  }

  /// Runs `body` on the loop, then hands out the connection's events and sends what it has to send.
  func perform<Success: Sendable>(
    _ body: @escaping @Sendable (PeerDriver, Instant) throws(PeerConnectionError) -> Success
  ) async throws(PeerConnectionError) -> Success {
    try await perform(orThrow: .closed, body)
  }

  /// The same with errors of another kind; `closed` is the one to throw when the connection is over.
  func perform<Success: Sendable, Failure: Error>(
    orThrow closed: Failure,
    _ body: @escaping @Sendable (PeerDriver, Instant) throws(Failure) -> Success
  ) async throws(Failure) -> Success {
    let driver = driver
    let result: Result<Success, Failure> = await withCheckedContinuation { continuation in
      loop.post { state, now in
        let driver = driver.value
        guard !driver.isFinished else { return continuation.resume(returning: .failure(closed)) }
        let result = Result { () throws(Failure) in try body(driver, now) }
        // Events go out before the caller goes on, so that it finds the states that its call led to.
        state.drainNow(driver, at: now)
        continuation.resume(returning: result)
      }
    }
    return try result.get()
  }

  /// Runs `body` on the loop, some time soon; its output leaves in the same turn.
  func post(_ body: @escaping @Sendable (PeerDriver, Instant) -> Void) {
    let driver = driver
    loop.post { state, now in
      let driver = driver.value
      guard !driver.isFinished else { return }
      body(driver, now)
      state.markDirty(driver)
    }
  }

  /// Closes the connection on its loop, some time soon.
  func postClose() {
    let driver = driver
    loop.post { state, now in driver.value.close(in: state, at: now) }
  }
}
