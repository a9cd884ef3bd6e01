// LaVie's previews are animated WebPs. Where ComfyUI draws nodes on a canvas, only their first frame would show: this
// makes it take an <img>, as it does for a saved animation. Vue nodes take one anyway.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const moves = new WeakMap(); // node → whether its latest preview moves

/** The node of an execution id; of "3:5" those around it, too: node 5 is inside the subgraph of node 3. */
function* nodesOf(executionId) {
  let graph = app.rootGraph ?? app.graph;
  for (const id of String(executionId).split(":")) {
    const node = graph?.getNodeById(Number(id)) ?? graph?.getNodeById(id);
    if (!node) return;
    yield node;
    graph = node.subgraph;
  }
}

function watch(node) {
  const draw = node.onDrawBackground;
  node.onDrawBackground = function (...given) {
    draw?.apply(this, given); // here the page decides how to show a new preview
    if (moves.get(this)) this.animatedImages = true;
  };
}

api.addEventListener("b_preview_with_metadata", async ({ detail }) => {
  const moving = (await detail.blob.slice(8, 12).text()) === "WEBP";
  for (const node of nodesOf(detail.displayNodeId)) {
    if (moving && !moves.has(node)) watch(node);
    if (moving || moves.has(node)) moves.set(node, moving);
  }
});
