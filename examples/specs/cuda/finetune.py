import torch

device = "cuda" if torch.cuda.is_available() else "cpu"
weights = torch.zeros(2, device=device, requires_grad=True)
target = torch.tensor([1.0, -1.0], device=device)
optimizer = torch.optim.SGD([weights], lr=0.25)
for epoch in range(20):
    loss = ((weights - target) ** 2).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(device, [round(w, 2) for w in weights.tolist()])
