// SPDX-License-Identifier: Apache-2.0

import CVirtualClock
import DTLS
import SansIO
import Testing

@Suite struct HandshakeTests {
  @Test func x() throws {
    _ = try DTLSContext()
    _ = try DTLSContext(simulationSeed: 1)
    cvc_clear_time()
  }
}
