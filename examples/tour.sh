# The usual commands, one after another, in an empty folder (needs: pip install pandas flax):
#
#     bash -v CHECKOUT/examples/tour.sh
#
# The agents are tiny and hardly learn: preset debug. docs/tour.md is what this prints.
set -euo pipefail
CHECKOUT=$(dirname "$0")/..

# Help; another library's flag; a URL as folder.
metarims train --help
metarims train --lr 3e-4 || echo "exit code $?"
metarims train --out s3://bucket/run || echo "exit code $?"

# Train. The same command again resumes, or finds that nothing is left.
metarims train --preset debug --frames 4k --seeds 0 1 --out runs/ours
metarims train --preset debug --frames 4k --seeds 0 1 --out runs/ours
metarims train --preset debug --frames 4k --seeds 0 1 --agent vanilla --out=runs/lstm

# Compare: one table, one page, one figure.
metarims evaluate runs/ours runs/lstm --backend jax --episodes 20 --policy sampled --json table.json
metarims report runs/ours runs/lstm --backend jax --episodes 20
metarims plot runs/ours runs/lstm --list | head -5
metarims plot runs/ours runs/lstm --metric fast/entropy --out entropy.svg

# View: a page, a GIF, a video.
metarims view runs/ours runs/lstm --episodes 2 --out both.html --gif both.gif --tile 16 --fps 8
if command -v ffmpeg > /dev/null; then metarims view --agent doorkey --episodes 1 --mp4 doorkey.mp4; fi

# Python: train, metrics as a pandas frame, an agent in a loop of your own.
python - <<'END'
import gymnasium
import metarims
import minigrid

metarims.train(metarims.preset("debug"), "runs/python")
frame = metarims.metrics("runs/python")
print(frame[["env_steps", "return", "success", "fast/entropy"]].tail(3))

policy = metarims.Policy.load("runs/python")
env = gymnasium.make("BabyAI-GoToRedBallNoDists-v0")
observation, _ = env.reset(seed=0)
for step in range(1, 65):
    observation, reward, terminated, truncated, _ = env.step(policy.act(observation))
    if terminated or truncated:
        break
print(f"return {reward:.2f} after {step} steps")
END

# The programs of the how-tos: environments, agents, weights and the RIM core in your own code, also with Flax.
for page in gymnasium policy pytorch rim-core; do
    sed -n '/^```python/,/^```$/p' "$CHECKOUT/docs/howto/$page.md" | grep -v '^```' > howto-$page.py
    python howto-$page.py > howto-$page.txt
    echo "$page works"
done

# Sweep a setting.
for rate in 3e-4 3e-3; do
    metarims train --preset debug --frames 1k --fast.learning-rate $rate --out runs/rate-$rate
done
metarims plot runs/rate-*

# Share.
python "$CHECKOUT/examples/model_card.py" runs/ours --episodes 20 --backend jax

# A study says how long it will take.
metarims study run fig9 --scale smoke --out runs/fig9

ls . runs
