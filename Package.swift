// swift-tools-version: 6.3
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// Settings of every target.
let common: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .enableUpcomingFeature("InferIsolatedConformances"),
  .enableUpcomingFeature("ImmutableWeakCaptures"),
  .treatAllWarnings(as: .error),
]

/// Settings of the protocol cores: no unsafe construct without the word `unsafe`, borrowed spans in own types.
let sansIO = common + [.strictMemorySafety(), .enableExperimentalFeature("Lifetimes")]

/// Settings of the modules that call C: borrowed spans in own types.
let overC = common + [.enableExperimentalFeature("Lifetimes")]

let package = Package(
  name: "swift-kvs-webrtc",
  targets: [
    // base
    .target(name: "SansIO", swiftSettings: sansIO),

    // tests
    .testTarget(name: "SansIOTests", dependencies: ["SansIO"], swiftSettings: common),
  ]
)
