// SPDX-License-Identifier: Apache-2.0

import CVirtualClock

/// The clock that OpenSSL's DTLS timer sees in a program that links this module: the `now` of our calls.
///
/// OpenSSL 3 asks `gettimeofday` whether its timer has expired. This module's C part defines that function and
/// answers with the time of the call that is under way, so handshakes run in virtual time like all else.
enum VirtualClock {
  /// Makes sure that the C part is linked, and starts with the real clock.
  static func install() { cvc_clear_time() }
}
