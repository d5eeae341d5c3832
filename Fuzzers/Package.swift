// swift-tools-version: 6.3
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// One executable for each fuzz target; scripts/fuzz.sh builds and runs them. A package of its own, because a
/// libFuzzer program has no `main` of its own and would break an ordinary build.
let package = Package(
  name: "Fuzzers",
  dependencies: [.package(name: "swift-kvs-webrtc", path: "..")],
  targets: [
    .target(name: "FuzzInput", dependencies: [.product(name: "ICE", package: "swift-kvs-webrtc")])
  ]
    + ["STUNFuzzer", "TURNFuzzer", "AgentFuzzer", "MDNSFuzzer"].map { name in
      .executableTarget(
        name: name, dependencies: ["FuzzInput", .product(name: "ICE", package: "swift-kvs-webrtc")])
    }
    + ["SCTPFuzzer", "DCEPFuzzer"].map { name in
      .executableTarget(
        name: name,
        dependencies: [
          "FuzzInput", .product(name: "SCTP", package: "swift-kvs-webrtc"),
          .product(name: "ICE", package: "swift-kvs-webrtc"),
        ])
    }
)
