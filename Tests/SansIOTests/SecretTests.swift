// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@Suite("T39: secrets do not print")
struct SecretTests {
  private struct Holder {
    let name = "holder"
    let password = Secret("canary-1234")
  }

  @Test("Neither a description, a debug description, a dump nor an enclosing type shows the value")
  func isRedactedEverywhere() {
    let holder = Holder()
    var dumped = ""
    dump(holder, to: &dumped)
    let texts = [
      "\(holder)", String(reflecting: holder), dumped, "\(holder.password)",
      String(describing: [holder.password]),
    ]
    for text in texts { #expect(!text.contains("canary")) }
    #expect(holder.password.unredacted == "canary-1234")
  }
}
