// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import WebRTC

extension ICECandidatePayload {
  /// A candidate of ours as signaling carries it.
  init(_ candidate: ICECandidateInit) {
    self.init(
      candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex,
      usernameFragment: candidate.usernameFragment)
  }
}

extension ICECandidateInit {
  /// A candidate of the peer as signaling brought it.
  init(_ payload: ICECandidatePayload) {
    self.init(
      candidate: payload.candidate, sdpMid: payload.sdpMid, sdpMLineIndex: payload.sdpMLineIndex,
      usernameFragment: payload.usernameFragment)
  }
}
