// SPDX-License-Identifier: Apache-2.0

import DTLS
import NIOPosix
import Synchronization

/// DTLS certificates made ahead, one for each connection, so that no offer waits for a key to be generated.
///
/// Refilled on a background thread, never on an event loop.
final class CertificatePool: Sendable {
  /// Certificates kept ready: what a burst of ten viewers takes.
  static let readyMax = 10

  private struct State {
    var ready: [DTLSCertificate] = []
    var isRefilling = false
  }

  private let context: DTLSContext
  private let state = Mutex(State())

  init(context: DTLSContext) {
    self.context = context
    refill()
  }

  /// A certificate that nobody else has; it is made on the spot when none is ready.
  func take() throws(NetworkError) -> DTLSCertificate {
    let ready = state.withLock { $0.ready.popLast() }
    refill()
    if let ready { return ready }
    do throws(DTLSError) { return try context.makeCertificate() } catch {
      throw .certificate("\(error)")
    }
  }

  private func refill() {
    let begins = state.withLock { state in
      guard !state.isRefilling, state.ready.count < Self.readyMax else { return false }
      state.isRefilling = true
      return true
    }
    guard begins else { return }
    // The pool is captured weakly: a loop that is gone needs no certificates.
    NIOThreadPool.singleton.submit { [weak self] workItem in
      guard workItem == .active else { return }
      while let pool = self, pool.addOne() {}
    }
  }

  /// Makes one certificate; false when there are enough, or none can be made.
  private func addOne() -> Bool {
    let made = try? context.makeCertificate()
    return state.withLock { state in
      if let made { state.ready.append(made) }
      let goesOn = made != nil && state.ready.count < Self.readyMax
      if !goesOn { state.isRefilling = false }
      return goesOn
    }
  }
}
